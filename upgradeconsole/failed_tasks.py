"""What the queue keeps of a task that failed: its traceback, without secrets."""

from typing import Any

from upgradeconsole.log_lines import without_secrets


def mask_result(instance: Any, **_about: Any) -> None:
    """Mask a failure before it is stored; connected to the queue's own rows."""
    if isinstance(instance.result, str):
        instance.result = without_secrets(instance.result)
