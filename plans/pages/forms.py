"""The forms of the pages of plans; they parse and shape, the use cases decide."""

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from plans.releases.signed_forms import MAX_BYTES, cosign_text

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
    largest = LARGEST_UPLOAD
    too_large = "The file is larger than 2 MB; use the management command."
    endings: tuple[str, ...] = ()
    """How a file's name may end; nothing else of the name is ever used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].error_messages["required"] = self.empty_sentence

    def clean(self) -> dict[str, Any]:
        """Put the file's text, where there is one, in the place of the pasted one."""
        cleaned: dict[str, Any] = super().clean() or {}
        upload = cleaned.get("file")
        if isinstance(upload, UploadedFile):
            self.errors.pop("text", None)
            cleaned["text"] = self.read_upload("file", upload)
        return cleaned

    def read_upload(self, field: str, upload: "UploadedFile[bytes]") -> str:
        """Return the text of a file; nothing, and what is wrong with it beside its field."""
        problem, text = "", ""
        if (upload.size or 0) > self.largest:
            problem = self.too_large
        elif self.endings and not str(upload.name).lower().endswith(self.endings):
            problem = f"The file is of another kind: its name must end with {self.endings[0]}."
        else:
            try:
                text = bytes(upload.read()).decode("utf-8-sig")
            except UnicodeDecodeError:
                problem = "The file is not UTF-8 text; save it as UTF-8."
            if "\x00" in text:
                problem, text = "The file is not a text: it holds NUL characters.", ""
        if problem:
            self.add_error(field, problem)
        return text


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
    """A signed release: an envelope, or what cosign signed with the signature beside it."""

    largest = MAX_BYTES
    too_large = f"The file is larger than {MAX_BYTES // 1024} kB; a signed release is a small text."
    endings = (".dsse", ".json", ".jsonl", ".txt")

    signature = forms.CharField(
        required=False,
        strip=True,
        max_length=4096,
        widget=forms.Textarea(attrs={"class": "code", "rows": 2, "spellcheck": "false"}),
        label="Signature by cosign",
        help_text="Only for what cosign signed: the base64 text of release.json.sig.",
    )
    irreversible = forms.BooleanField(
        required=False,
        label="This release cannot be taken back",
        help_text="Policies refuse such a release unless they say otherwise.",
    )
    empty_sentence = "Paste the content of release.json.dsse or choose the file."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].label = "Signed release (release.json.dsse, or release.json for cosign)"
        self.fields["file"].label = "or the file"

    def clean(self) -> dict[str, Any]:
        """Put what cosign signed and its signature into one text."""
        cleaned = super().clean()
        if cleaned.get("signature") and cleaned.get("text"):
            payload = str(cleaned["text"])
            if not cleaned.get("file"):
                # Browsers send a pasted text with other line ends than it was signed with.
                payload = payload.replace("\r\n", "\n")
            cleaned["text"] = cosign_text(payload, cleaned["signature"])
        return cleaned


class PolicyTextForm(TextOrFile):
    """The text of a policy file."""

    empty_sentence = "Paste the policy file or choose it."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].label = "Policy file (YAML)"
        self.fields["text"].widget.attrs["rows"] = 24
        self.fields["file"].label = "or the file"
