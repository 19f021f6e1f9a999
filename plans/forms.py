"""The forms of the pages of plans; they parse and shape, the use cases decide."""

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

LARGEST_UPLOAD = 2 * 1024 * 1024


class TextOrFile(forms.Form):
    """A text, pasted or from a file; the file wins."""

    use_required_attribute = False

    text = forms.CharField(
        strip=False,
        widget=forms.Textarea(attrs={"class": "code", "rows": 14, "spellcheck": "false"}),
    )
    file = forms.FileField(required=False)
    empty_sentence = "Paste the text or choose a file."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].error_messages["required"] = self.empty_sentence

    def clean(self) -> dict[str, Any]:
        """Put the file's text, where there is one, in the place of the pasted one."""
        cleaned: dict[str, Any] = super().clean() or {}
        upload = cleaned.get("file")
        if isinstance(upload, UploadedFile):
            self.errors.pop("text", None)
            cleaned["text"] = self._text_of(upload)
        return cleaned

    def _text_of(self, upload: "UploadedFile[bytes]") -> str:
        if (upload.size or 0) > LARGEST_UPLOAD:
            self.add_error("file", "The file is larger than 2 MB; use the management command.")
            return ""
        try:
            return bytes(upload.read()).decode("utf-8-sig")
        except UnicodeDecodeError:
            self.add_error("file", "The file is not UTF-8 text; save it as UTF-8.")
            return ""


class TenantImportForm(TextOrFile):
    """A list of tenants."""

    FORMS = (("csv", "CSV"), ("yaml", "YAML"))

    form = forms.ChoiceField(choices=FORMS, widget=forms.RadioSelect, initial="csv")
    plugin = forms.CharField(
        required=False,
        max_length=63,
        help_text="Whose version the column 'version' tells; needed only with that column.",
    )
    empty_sentence = "Paste the tenants or choose a file."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].label = "Tenants"
        self.fields["file"].label = "or a file"
        self.fields["form"].label = "Written as"


class TenantForm(forms.Form):
    """One tenant."""

    key = forms.CharField(
        max_length=63, help_text="How deployers and metrics name it; it never changes."
    )
    name = forms.CharField(max_length=200, required=False)
    labels = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One per line or separated by commas: region=eu",
    )
    owner_name = forms.CharField(max_length=120, required=False, label="Owner")
    owner_email = forms.CharField(
        max_length=254,
        required=False,
        label="Owner's e-mail",
        widget=forms.EmailInput,
        help_text="Alerts about this tenant go there too.",
    )
    notes = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))

    def clean_labels(self) -> str:
        """Return the labels as an import writes them."""
        written = str(self.cleaned_data["labels"])
        parts = written.replace("\r", "").replace("\n", ";").replace(",", ";").split(";")
        return ";".join(part.strip() for part in parts if part.strip())


class ReleaseForm(TextOrFile):
    """A signed release."""

    irreversible = forms.BooleanField(
        required=False,
        label="This release cannot be taken back",
        help_text="Policies refuse such a release unless they say otherwise.",
    )
    empty_sentence = "Paste the content of release.json.dsse or choose the file."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].label = "Signed release (release.json.dsse)"
        self.fields["file"].label = "or the file"


class PolicyTextForm(TextOrFile):
    """The text of a policy file."""

    empty_sentence = "Paste the policy file or choose it."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].label = "Policy file (YAML)"
        self.fields["text"].widget.attrs["rows"] = 24
        self.fields["file"].label = "or the file"
