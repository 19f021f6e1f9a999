"""The project's own app: commands and checks."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Registers the project's management commands and system checks."""

    name = "upgradeconsole"
    label = "console"
    verbose_name = "Upgrade Console"
