#!/usr/bin/env python
"""Run a management command."""

import getpass
import os
import socket
import sys

# These serve everybody for a long time; what they do, they do for nobody in particular.
PROCESSES = {"watch", "qcluster"}


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "upgradeconsole.settings")
    from django.core.management import execute_from_command_line

    from plans.trail.trace import acting_from, new_trace_id
    from upgradeconsole.log_lines import mask_tracebacks

    mask_tracebacks()
    if PROCESSES & set(sys.argv[1:2]):
        execute_from_command_line(sys.argv)
        return
    # What a command does stands in the trail under the machine's account that ran it.
    with acting_from(on_behalf=_account()[:200], trace_id=new_trace_id()):
        execute_from_command_line(sys.argv)


def _account() -> str:
    """Return the account and the machine; behind sudo, whose it was before."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    return (
        f"{behind} as {name}@{socket.gethostname()}" if behind else f"{name}@{socket.gethostname()}"
    )


if __name__ == "__main__":
    main()
