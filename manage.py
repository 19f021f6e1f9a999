#!/usr/bin/env python
"""Run a management command."""

import os
import sys


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "upgradeconsole.settings")
    from django.core.management import execute_from_command_line

    from upgradeconsole.log_lines import mask_tracebacks

    mask_tracebacks()

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
