"""How a metric source lets us in: headers, log-in and certificates. Secrets only by ${NAME}."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from batches.metric_sources.base import MetricUnavailable
from upgradeconsole.outbound import trusted

VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_SHORTEST_SECRET: Final = 4


@dataclass(frozen=True, slots=True)
class Access:
    """The headers to send, filled in, and what of them must never be shown."""

    headers: Mapping[str, str]
    secrets: tuple[str, ...]


def read_access(options: Mapping[str, Any], environ: Mapping[str, str]) -> Access:
    """Return headers and log-in with the environment filled in. Raises MetricUnavailable."""
    templates = list(_templates(options))
    names = sorted({name for template in templates for name in VARIABLE.findall(template)})
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise MetricUnavailable(
            "unauthorized", f"the environment has no {', '.join(missing)} for this source"
        )

    def filled(template: str) -> str:
        return VARIABLE.sub(lambda match: environ[match.group(1)], template)

    headers = {name: filled(text) for name, text in options.get("headers", {}).items()}
    secrets = [environ[name] for name in names]
    auth = options.get("auth", {})
    if "bearer" in auth:
        headers["Authorization"] = f"Bearer {filled(auth['bearer'])}"
    if "basic" in auth:
        login = f"{filled(auth['basic']['username'])}:{filled(auth['basic']['password'])}"
        coded = b64encode(login.encode()).decode()
        headers["Authorization"] = f"Basic {coded}"
        secrets.append(coded)
    if any("\r" in value or "\n" in value for value in headers.values()):
        raise MetricUnavailable("unauthorized", "a variable for this source holds a line break")
    return Access(headers, tuple(text for text in secrets if len(text) >= _SHORTEST_SECRET))


def tls_context(options: Mapping[str, Any], ca_file: str = "") -> ssl.SSLContext:
    """Return how certificates are checked and which one we show. Raises MetricUnavailable.

    A source that names its own authority trusts nobody else; others trust the machine's, and the
    installation's private one.
    """
    tls = options.get("tls", {})
    try:
        context = ssl.create_default_context(cafile=tls["ca"]) if "ca" in tls else trusted(ca_file)
        if "cert" in tls:
            context.load_cert_chain(tls["cert"], tls.get("key"))
    except (OSError, ssl.SSLError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise MetricUnavailable(
            "unauthorized", f"the files of tls cannot be used: {said}; check ca, cert and key"
        ) from error
    return context


def _templates(options: Mapping[str, Any]) -> Iterator[str]:
    yield from options.get("headers", {}).values()
    auth = options.get("auth", {})
    if "bearer" in auth:
        yield auth["bearer"]
    yield from auth.get("basic", {}).values()
