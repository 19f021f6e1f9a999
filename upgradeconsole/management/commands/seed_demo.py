"""`manage.py seed_demo`: fill an empty database with the demonstration."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from plans.models import User
from plans.refusal import BadInput, Refused
from upgradeconsole.demo.config_files import DEFAULT_PORT, render_demo_config
from upgradeconsole.demo.seed import LOGINS_FILE, require_empty, seed_demo


class Command(BaseCommand):
    """Make people, tenants, signed releases and four plans that wait for approval."""

    help = "Fill an empty database with a demonstration: people, 120 tenants, four plans."
    # `prepare` calls this while the console starts; the processes that follow run the checks.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the demo's config for UPGRADECONSOLE_FLEET_PORT, then fill the database."""
        if User._meta.db_table not in connection.introspection.table_names():
            raise CommandError("The database is not ready; './console manage prepare' makes it so.")
        try:
            # First of all: the demo's config must not replace that of a console at work.
            require_empty()
            policies = self._write_config()
            plans = seed_demo(data_dir=settings.DATA_DIR, policies=policies, now=timezone.now())
        except BadInput as refused:
            raise CommandError("\n".join(refused.problems)) from refused
        except Refused as refused:
            raise CommandError(refused.sentence) from refused
        for plan in plans:
            self.stdout.write(f"{plan.external_id} waits for approval")
        self.stdout.write(f"Log-ins: {settings.DATA_DIR / LOGINS_FILE}")

    def _write_config(self) -> Path:
        """Write the demo's own files; return the policies."""
        port = int(os.environ.get("UPGRADECONSOLE_FLEET_PORT", DEFAULT_PORT))
        config = render_demo_config(settings.DATA_DIR / "config", port)
        # The demo's plans are made for the demo's policies, whatever the installation's are.
        return config.policies
