"""The demo fleet's knobs: how its platform misbehaves, changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Final

from upgradeconsole.demo.releases import VersionBehaviour, behaviour_of

_DIRECTIONS: Final = ("install", "restore", "observe")
_METRICS: Final = ("normal", "silent", "nan", "unavailable")
_LISTS: Final = (
    "fail",
    "refuse",
    "hang",
    "reset",
    "reset_after_apply",
    "applied_though_failed",
    "wrong_version",
    "wrong_digest",
    "unauthorized",
    "throttled",
)


@dataclass(frozen=True, slots=True)
class Knobs:
    """Entries of lists: "acorn" (install and restore), "acorn:observe", "*", "*:restore"."""

    latency_seconds: float = 0.2
    jitter_seconds: float = 0.05
    observe_latency_seconds: float = 0.0
    failure_rate: float = 0.0  # share of installs and restores answered with 500
    fail: tuple[str, ...] = ()  # 500
    refuse: tuple[str, ...] = ()  # 422
    hang: tuple[str, ...] = ()  # no answer at all
    reset: tuple[str, ...] = ()  # connection reset, nothing done
    reset_after_apply: tuple[str, ...] = ()  # done, then connection reset
    applied_though_failed: tuple[str, ...] = ()  # done, yet 500
    wrong_version: tuple[str, ...] = ()  # 200, nothing done
    wrong_digest: tuple[str, ...] = ()  # done, the digest read back is another
    unauthorized: tuple[str, ...] = ()  # 401
    throttled: tuple[str, ...] = ()  # 429 with Retry-After
    retry_after_seconds: int = 1
    fail_times: Mapping[str, int] = field(default_factory=dict)  # entry -> 500 this often
    late: Mapping[str, float] = field(default_factory=dict)  # tenant or * -> applied s later
    accept_then_poll: bool = False  # 202 with a status_url
    accepted_seconds: float = 1.0
    metrics: str = "normal"
    traffic: float = 1.0  # times the tenants' request rates
    error_rates: Mapping[str, float] = field(default_factory=dict)  # version -> 0..1
    latency_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return all knobs as POST /_knobs takes them."""
        return asdict(self)

    def names(self, knob: str, tenant: str, direction: str) -> bool:
        """Return whether the list of the knob holds this tenant's call."""
        entries: tuple[str, ...] = getattr(self, knob)
        return bool(entries) and any(entry in entries for entry in entries_for(tenant, direction))

    def behaviours(self) -> dict[str, VersionBehaviour]:
        """Return the behaviour of each version that a knob names."""
        return {
            version: self._behaviour(version) for version in {*self.error_rates, *self.latency_ms}
        }

    def _behaviour(self, version: str) -> VersionBehaviour:
        released = behaviour_of(version)
        latency = self.latency_ms.get(version, {})
        median = latency.get("median", released.median_ms)
        return VersionBehaviour(
            self.error_rates.get(version, released.error_rate),
            median,
            max(median, latency.get("p95", released.p95_ms)),
        )


class KnobsRejected(Exception):
    """What was posted to the knobs does not fit; problems lists all of it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def entries_for(tenant: str, direction: str) -> tuple[str, ...]:
    """Return the list entries that mean this call."""
    named = (f"{tenant}:{direction}", f"*:{direction}")
    return named if direction == "observe" else (*named, tenant, "*")


def turn(knobs: Knobs, patch: object) -> Knobs:
    """Return the knobs with the posted ones changed. Raises KnobsRejected."""
    if not isinstance(patch, dict):
        raise KnobsRejected(["the body must be a JSON object of knobs"])
    known = {knob.name: getattr(knobs, knob.name) for knob in fields(knobs)}
    problems: list[str] = []
    turned: dict[str, object] = {}
    for name, value in patch.items():
        wrong = (
            f"{name} is no knob; knobs: {', '.join(known)}"
            if name not in known
            else _wrong(name, value, known[name])
        )
        if wrong:
            problems.append(wrong)
        else:
            turned[name] = tuple(value) if isinstance(value, list) else value
    if problems:
        raise KnobsRejected(problems)
    return replace(knobs, **turned)  # type: ignore[arg-type]


def _wrong(name: str, value: object, now: object) -> str:
    if name in _LISTS:
        return _wrong_entries(name, value)
    if name == "metrics":
        return "" if value in _METRICS else f"metrics must be one of {', '.join(_METRICS)}"
    if isinstance(now, bool):
        return "" if isinstance(value, bool) else f"{name} must be true or false"
    if isinstance(now, Mapping):
        return _wrong_mapping(name, value)
    highest = 1.0 if name == "failure_rate" else 3600.0
    if name == "retry_after_seconds" and not isinstance(value, int):
        return f"{name} must be a whole number"
    return "" if _number(value, highest) else f"{name} must be a number from 0 to {highest:g}"


def _wrong_entries(name: str, value: object) -> str:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        return f'{name} must be a list such as ["acorn", "birch:restore", "*:observe"]'
    bad = [entry for entry in value if ":" in entry and entry.split(":")[-1] not in _DIRECTIONS]
    return f"{name}: {bad[0]!r} must end in :install, :restore or :observe" if bad else ""


def _wrong_mapping(name: str, value: object) -> str:
    if not isinstance(value, dict):
        return f"{name} must be an object"
    if name == "latency_ms":
        fits = all(
            isinstance(item, dict)
            and set(item) <= {"median", "p95"}
            and all(_number(number, 60_000) and number > 0 for number in item.values())
            for item in value.values()
        )
        return "" if fits else f'{name} must be such as {{"1.6.0": {{"median": 180, "p95": 450}}}}'
    highest = 1.0 if name == "error_rates" else 3600.0
    if name == "fail_times" and not all(isinstance(number, int) for number in value.values()):
        return f'{name} must hold whole numbers, such as {{"acorn": 2}}'
    fits = all(_number(number, highest) for number in value.values())
    return "" if fits else f"{name} must hold numbers from 0 to {highest:g}"


def _number(value: object, highest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= highest
