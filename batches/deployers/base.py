"""What every deployer takes and gives back; a deployer changes or reads one tenant's plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

Direction = Literal["install", "restore"]
Outcome = Literal["ok", "refused", "failed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One intent for one tenant. Attempts of the same intent carry the same key and fence."""

    tenant: str
    plugin: str
    version: str
    key: str
    fence: int
    digest: str | None = None
    plan: str = ""
    config: object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallOrder(Order):
    """Put the version on the tenant."""

    direction: ClassVar[Direction] = "install"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder(Order):
    """Bring back the version, and the config, that the tenant had before the upgrade."""

    direction: ClassVar[Direction] = "restore"


@dataclass(frozen=True, slots=True)
class Observed:
    """What the platform says a tenant runs; None where it does not tell."""

    version: str
    digest: str | None = None
    config: object | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How one call ended. The text is masked and clipped, so it may be stored and shown.

    ok       the platform says that it did it
    refused  it will not do it, and a retry would not change that (permanent is True)
    failed   it did not do it; a retry may help, not before retry_after seconds where given
    unknown  nobody can tell from here: observe the tenant
    """

    outcome: Outcome
    text: str
    status: int | None = None
    permanent: bool = False
    unauthorized: bool = False
    retry_after: float | None = None


class ObserveFailed(Exception):
    """The tenant could not be read; reason is masked and clipped like an answer's text."""

    def __init__(
        self,
        reason: str,
        permanent: bool = False,
        *,
        unauthorized: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.unauthorized = unauthorized
        self.retry_after = retry_after


class Deployer(Protocol):
    """The way to one platform. A deployer belongs to the event loop that first used it."""

    name: str
    parallelism: int
    expected_seconds: float

    async def install(self, order: InstallOrder, *, timeout: float) -> Answer:
        """Install within the timeout in seconds; a call that ends badly is an Answer too."""

    async def restore(self, order: RestoreOrder, *, timeout: float) -> Answer:
        """Restore within the timeout in seconds; a call that ends badly is an Answer too."""

    async def observe(self, tenant: str, plugin: str, *, timeout: float) -> Observed:
        """Read what the tenant runs now. Raises ObserveFailed."""

    async def close(self) -> None:
        """Give connections back; the deployer may be used again afterwards."""
