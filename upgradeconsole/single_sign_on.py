"""The company's log-in (OpenID Connect), as the environment names it; absent unless it does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from plans.sso.mapping import MappingRejected, RoleMapping, parse_mapping
from upgradeconsole.env import env_bool, env_hidden, env_list, env_str

PROVIDER_ID = "company"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """Whom to trust (`issuer`), as whom we come, and what its people may become here."""

    issuer: str
    client_id: str
    client_secret: str
    name: str
    domains: tuple[str, ...]
    creates_people: bool
    roles: RoleMapping | None
    provider_id: str = PROVIDER_ID

    @property
    def origin(self) -> str:
        """Return the origin of the issuer, to which browsers may be sent from a form."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    def providers(self) -> dict[str, Any]:
        """Return allauth's setting."""
        return {
            "openid_connect": {
                "provider_class": "plans.sso.provider.StrictProvider",
                "APPS": [
                    {
                        "provider_id": self.provider_id,
                        "name": self.name,
                        "client_id": self.client_id,
                        "secret": self.client_secret,
                        "settings": {"server_url": self.issuer.rstrip("/"), "issuer": self.issuer},
                    }
                ],
            }
        }


def read_single_sign_on() -> SingleSignOn | None:
    """Return what the environment says, None where it names no issuer.

    Raise ImproperlyConfigured for half a configuration: the console does not start with it.
    """
    issuer = env_str("UPGRADECONSOLE_OIDC_ISSUER").strip()
    if not issuer:
        return None
    parts = urlsplit(issuer)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ImproperlyConfigured(
            f"UPGRADECONSOLE_OIDC_ISSUER={issuer!r} is not an https address; whoever listens on"
            " the way could log in as anybody."
        )
    client_id = env_str("UPGRADECONSOLE_OIDC_CLIENT_ID").strip()
    secret = env_hidden("UPGRADECONSOLE_OIDC_CLIENT_SECRET")
    if not client_id or not secret:
        raise ImproperlyConfigured(
            "UPGRADECONSOLE_OIDC_ISSUER is set; UPGRADECONSOLE_OIDC_CLIENT_ID and"
            " UPGRADECONSOLE_OIDC_CLIENT_SECRET_FILE have to be, too (docs/people.md)."
        )
    return SingleSignOn(
        issuer=issuer,
        client_id=client_id,
        client_secret=secret,
        name=env_str("UPGRADECONSOLE_OIDC_NAME", "single sign-on"),
        domains=tuple(domain.lower() for domain in env_list("UPGRADECONSOLE_OIDC_DOMAINS")),
        creates_people=env_bool("UPGRADECONSOLE_OIDC_CREATES_PEOPLE", default=False),
        roles=_roles(env_str("UPGRADECONSOLE_OIDC_ROLES")),
    )


def _roles(file: str) -> RoleMapping | None:
    if not file:
        return None
    try:
        return parse_mapping(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ImproperlyConfigured(f"UPGRADECONSOLE_OIDC_ROLES={file!r}: {error}.") from error
    except MappingRejected as rejected:
        told = "; ".join(rejected.problems)
        raise ImproperlyConfigured(f"UPGRADECONSOLE_OIDC_ROLES={file!r}: {told}.") from rejected
