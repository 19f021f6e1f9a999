"""`manage.py check_outbound`: may the console reach what it is set up to reach?"""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from batches.configured import outbound_rules
from upgradeconsole.configured_addresses import NamedAddress, in_database, in_files
from upgradeconsole.outbound import OutboundRefused, OutboundRules
from upgradeconsole.outbound.destination import destination_of
from upgradeconsole.outbound.lookup import system_lookup


class Command(BaseCommand):
    """Judge every configured address as a connection would, and give the lines to add."""

    help = (
        "List every address of deployers, metric sources and receivers of alerts, and whether the"
        " outbound file lets the console connect to it. Exit 1 when it does not."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per address and fail when one is refused."""
        rules = outbound_rules()()
        self.stdout.write(f"By {settings.OUTBOUND_FILE}:")
        if rules.broken:
            raise CommandError("\n".join(rules.broken))
        refused = 0
        for named in (*in_files(), *in_database()):
            why = _refusal(named, rules)
            refused += bool(why)
            self.stdout.write(f"{named.where}, {named.url}: {why or 'may be reached'}")
        if refused:
            raise CommandError(f"{refused} of these cannot be reached; docs/outbound.md helps.")


def _refusal(named: NamedAddress, rules: OutboundRules) -> str:
    try:
        found = destination_of(named.url)
    except OutboundRefused as refused:
        return refused.sentence
    if found.address is not None:
        return rules.refusal(found.address, found.port, named.purpose)
    try:
        addresses = asyncio.run(
            system_lookup(found.host, found.port, search_domains=rules.search_domains)
        )
    except OSError as error:
        return f"{found.host} cannot be looked up: {error.strerror}"
    told = (rules.refusal(one, found.port, named.purpose, host=found.host) for one in addresses)
    return next((why for why in told if why), "")
