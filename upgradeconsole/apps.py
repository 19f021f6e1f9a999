"""The project's own app: commands and checks."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Registers the project's management commands and system checks."""

    name = "upgradeconsole"
    label = "console"
    verbose_name = "Upgrade Console"

    def ready(self) -> None:
        """Register the checks."""
        from upgradeconsole import checks  # noqa: F401  (registering is its effect)
