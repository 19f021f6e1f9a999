"""Every address that this installation is set up to connect to, and who named it."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from batches.configured import deployers, dictionary, is_example
from plans.refusal import BadInput
from reports.models import Endpoint
from upgradeconsole.outbound import Purpose


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """An URL, what it is for, and where it is written."""

    url: str
    purpose: Purpose
    where: str


def in_files() -> Iterator[NamedAddress]:
    """Yield what the files and the environment name.

    A file that is broken names nothing, and nor does a shipped example, which nobody set up.
    """
    try:
        known = {} if is_example(settings.DEPLOYERS_FILE) else deployers()
        for name, spec in known.items():
            if spec.base_url:
                yield NamedAddress(spec.base_url, "deployers", f"deployer {name}")
    except BadInput:
        # W001 says what is wrong with it.
        pass
    try:
        sources = {} if is_example(settings.DICTIONARY_FILE) else dictionary().sources
        for name, source in sources.items():
            if "url" in source.options:
                url = str(source.options["url"])
                yield NamedAddress(url, "metrics", f"metric source {name}")
    except BadInput:
        pass
    for url in settings.ALERT_EVENT_URLS:
        yield NamedAddress(url, "webhooks", "UPGRADECONSOLE_ALERT_URLS")


def in_database() -> Iterator[NamedAddress]:
    """Yield the addresses of machines that are told of alerts."""
    for endpoint in Endpoint.objects.filter(active=True):
        yield NamedAddress(endpoint.url, "webhooks", f"endpoint {endpoint.name}")
