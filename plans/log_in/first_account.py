"""How the first person gets into an installation in which nobody has an account."""

from django.conf import settings

from plans.models import User

COMMAND = "./console manage createsuperuser"


def first_account_command() -> str:
    """Return what makes the first account; empty as soon as anybody has one.

    Strangers may read it: it names no folder of the machine.
    """
    return "" if User.objects.exists() else COMMAND


def first_account_line() -> str:
    """Return the whole line to type on this machine; empty as soon as anybody has an account."""
    if not (command := first_account_command()):
        return ""
    if settings.DATA_DIR == settings.BASE_DIR / "data":
        return command
    return f"UPGRADECONSOLE_DATA={settings.DATA_DIR} {command}"
