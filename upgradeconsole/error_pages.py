"""What Django's own error reports show: never a secret, also while the console is debugged."""

from __future__ import annotations

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from upgradeconsole.known_secrets import MASK, holds_secret, is_secret_name
from upgradeconsole.log_lines import without_secrets


class SecretsFilter(SafeExceptionReporterFilter):
    """Hides by name and by value, with DEBUG on, too: the page goes to a browser."""

    cleansed_substitute = MASK
    hidden_settings = re.compile(
        r"API|AUTH|COOKIE|CREDENTIAL|DATABASE|KEY|PASS|SECRET|SIGNATURE|TOKEN|URL$", re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        """Hide, whatever DEBUG is."""
        return True

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        """Return a setting without what is secret by its name or its value."""
        cleansed = super().cleanse_setting(key, value)
        return MASK if holds_secret(repr(cleansed)) else cleansed

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        """Return what was posted, without what the form's own names call a secret."""
        given = super().get_post_parameters(request)
        return {
            name: MASK if is_secret_name(name) or holds_secret(str(value)) else value
            for name, value in given.items()
        }

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        """Return a frame's variables; one that holds or is named like a secret is masked."""
        found = super().get_traceback_frame_variables(request, tb_frame)
        return {name: _shown(name, value) for name, value in found}.items()


def _shown(name: str, value: Any) -> Any:
    if is_secret_name(name):
        return MASK
    try:
        told = repr(value)
    except Exception as error:  # noqa: BLE001 - any object may stand in a frame
        return f"(no repr: {type(error).__name__})"
    return MASK if without_secrets(told) != told else value


class SecretsReporter(ExceptionReporter):
    """Django's report of an error, whose every text is masked."""

    def get_traceback_data(self) -> dict[str, Any]:
        """Return what the page and the mail are made of."""
        return {key: _masked(value) for key, value in super().get_traceback_data().items()}


_LINES = ("pre_context", "context_line", "post_context")


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, dict) and any(key in value for key in _LINES):
        # A frame: its source may have a literal in it, its variables are masked already.
        return {
            key: item if key in {"vars", "exc_cause", "tb"} else _masked(item)
            for key, item in value.items()
        }
    return value
