"""Read the parts of one policy: selection, windows, limits, conditions, rollback."""

import re
from datetime import UTC, datetime, time
from functools import cache
from zoneinfo import available_timezones

from plans.policies.policy import (
    PAUSE_SECONDS,
    Conditions,
    EvidenceRules,
    Labels,
    Limits,
    RollbackRules,
    Selection,
    TenantSelector,
    Window,
)
from plans.policies.yaml_nodes import MapNode, Node, Problem, ScalarNode
from plans.policies.yaml_section import (
    KPI,
    KPI_RULE,
    NAME,
    NAME_RULE,
    Section,
    clipped,
    nearest,
    shown,
)

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def read_selection(policy: Section) -> Selection:
    """Return who comes first, who never, and who waits until the end."""
    section = policy.child(
        "selection", keys=("order", "rings", "exclude", "pin", "hold_back_percentage")
    )
    return Selection(
        order=section.choice("order", "shuffle", ("shuffle", "listed", "risk")),
        rings=tuple(
            _read_labels(node, path, policy.problems)
            for node, path in section.items("rings", most=100)
        ),
        exclude=_read_selectors(section, "exclude"),
        pin=_read_selectors(section, "pin"),
        hold_back_percentage=section.number("hold_back_percentage", 0, high=99),
    )


def _read_selectors(section: Section, key: str) -> tuple[TenantSelector, ...]:
    selectors: list[TenantSelector] = []
    for node, path in section.items(key, most=10_000):
        if not isinstance(node, ScalarNode):
            selectors.append(_read_labels(node, path, section.problems))
            continue
        if not NAME.fullmatch(node.text):
            message = f"'{clipped(node.text)}' is not a tenant key; {NAME_RULE}, or labels"
            section.problems.append(Problem(node.line, path, message))
        selectors.append(node.text)
    return tuple(selectors)


def _read_labels(node: Node, path: str, problems: list[Problem]) -> Labels:
    if not isinstance(node, MapNode) or not node.entries:
        problems.append(Problem(node.line, path, "write labels here, such as {ring: internal}"))
        return {}
    section = Section(node, path, problems, keys=None)
    return {label: section.text(label, most=200) for label in node.entries}


def read_windows(policy: Section) -> tuple[tuple[Window, ...], datetime | None]:
    """Return the windows, and the not_after that stands among them or beside them."""
    windows: list[Window] = []
    ends: list[datetime | None] = []
    if "not_after" in policy.entries:
        ends.append(_read_instant(policy))
    for node, path in policy.items("windows", most=50):
        if isinstance(node, MapNode) and "not_after" in node.entries:
            ends.append(_read_instant(Section(node, path, policy.problems, keys=("not_after",))))
            if len(ends) > 1:
                message = "not_after stands more than once in this policy; keep one"
                policy.problems.append(Problem(node.line, path, message))
            continue
        keys = ("kind", "days", "from", "to", "timezone")
        windows.append(_read_window(Section(node, path, policy.problems, keys=keys)))
    return tuple(windows), next(iter(ends), None)


def _read_window(section: Section) -> Window:
    section.require("kind", "from", "to")
    section.require("timezone", why=", such as Europe/Berlin or UTC")
    days = [
        day
        for node, path in section.items("days", most=7)
        if (day := _read_day(node, path, section.problems)) is not None
    ]
    listed = section.node("days")
    if listed is not None and not days:
        section.note(listed.line, "days", "no day is named; remove the key for every day")
    return Window(
        kind=section.choice("kind", "allow", ("allow", "deny")),
        days=tuple(day for day in DAYS if day in days) if days else DAYS,
        start=_read_clock(section, "from"),
        end=_read_clock(section, "to", midnight="24:00"),
        timezone=_read_timezone(section),
    )


def _read_day(node: Node, path: str, problems: list[Problem]) -> str | None:
    if isinstance(node, ScalarNode) and node.text in DAYS:
        return node.text
    written = clipped(node.text) if isinstance(node, ScalarNode) else "this"
    meant = nearest(written.lower(), DAYS)
    advice = f"did you mean '{meant}'?" if meant else f"write {', '.join(DAYS)}"
    problems.append(Problem(node.line, path, f"'{written}' is not a day; {advice}"))
    return None


def _read_clock(section: Section, key: str, midnight: str | None = None) -> time:
    node = section.scalar(key)
    if node is None or (midnight is not None and node.text == midnight):
        return time(0, 0)
    match = _CLOCK.fullmatch(node.text)
    if match is None:
        message = f"'{clipped(node.text)}' is not a time of day; write it as \"22:00\""
        section.note(node.line, key, message)
        return time(0, 0)
    return time(int(match.group(1)), int(match.group(2)))


@cache
def _zones() -> frozenset[str]:
    """Return the IANA names; the machine's own `localtime` means something else elsewhere."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _read_timezone(section: Section) -> str:
    node = section.scalar("timezone")
    if node is None:
        return "UTC"
    if node.text not in _zones():
        meant = nearest(node.text, _zones())
        advice = f"did you mean '{meant}'?" if meant else "write a name such as Europe/Berlin"
        message = f"'{clipped(node.text)}' is not an IANA time zone; {advice}"
        section.note(node.line, "timezone", message)
    return node.text


def _read_instant(section: Section) -> datetime | None:
    node = section.scalar("not_after")
    if node is None:
        return None
    try:
        if _INSTANT.fullmatch(node.text):
            return datetime.fromisoformat(node.text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        # The shape is right and the date is not, such as 30 February: the same advice helps.
        pass
    message = (
        f"'{clipped(node.text)}' is not an instant with an offset; "
        "write it as 2031-03-31T18:00:00+02:00"
    )
    section.note(node.line, "not_after", message)
    return None


def read_limits(policy: Section) -> Limits:
    """Return the limits; what would break the promise of 180 seconds is refused."""
    default = Limits()
    section = policy.child("limits", keys=tuple(Limits.__dataclass_fields__))
    return Limits(
        failure_rate=section.number("failure_rate", default.failure_rate, high=100),
        batch_minutes=section.number("batch_minutes", default.batch_minutes, above=True, high=1440),
        rollback_seconds=section.number(
            "rollback_seconds", default.rollback_seconds, above=True, high=180
        ),
        missing_metrics_minutes=section.number(
            "missing_metrics_minutes", default.missing_metrics_minutes, above=True, high=1440
        ),
        hold_minutes=section.number("hold_minutes", default.hold_minutes, above=True, high=43200),
        success_rate=section.number("success_rate", default.success_rate, high=100),
        parallelism=section.whole("parallelism", default.parallelism, low=1, high=1000),
        attempts=section.whole("attempts", default.attempts, low=1, high=20),
        call_timeout_seconds=section.number(
            "call_timeout_seconds", default.call_timeout_seconds, above=True, high=180
        ),
        look_seconds=section.number("look_seconds", default.look_seconds, above=True, high=300),
        failures=section.whole("failures", 0, low=0, high=10**6)
        if "failures" in section.entries
        else None,
    )


def read_conditions(policy: Section) -> Conditions:
    """Return what the four conditions do beside alerting."""
    default = Conditions()
    section = policy.child("on", keys=tuple(Conditions.__dataclass_fields__))
    both = ("rollback", "hold")
    return Conditions(
        failure_rate=section.choice("failure_rate", default.failure_rate, both),
        batch_overrun=section.choice("batch_overrun", default.batch_overrun, both),
        missing_metrics=section.choice("missing_metrics", default.missing_metrics, both),
        hold_expired=section.choice("hold_expired", default.hold_expired, both),
    )


def read_rollback(policy: Section, limits: Limits) -> RollbackRules:
    """Return the rules of the rollback; `limits` tells whether a call fits into its time."""
    default = RollbackRules()
    section = policy.child(
        "rollback",
        keys=(
            "scope",
            "order",
            "on_manual_pause",
            "verify",
            "drill",
            "irreversible",
            "watch_after_minutes",
            "unverified",
        ),
    )
    pause = section.child("on_manual_pause", keys=("rollback_after_seconds",))
    wait = pause.number("rollback_after_seconds", default.rollback_after_seconds, high=120)
    left = min(limits.rollback_seconds, PAUSE_SECONDS - wait)
    if limits.call_timeout_seconds >= left:
        policy.note(
            policy.line,
            "limits.call_timeout_seconds",
            f"one call may take {shown(limits.call_timeout_seconds)} s and a rollback has "
            f"{shown(left)} s; lower call_timeout_seconds or rollback_after_seconds",
        )
    return RollbackRules(
        scope=section.choice("scope", default.scope, ("plan", "batch", "tenant")),
        order=section.choice("order", default.order, ("newest_first",)),
        rollback_after_seconds=wait,
        verify=section.choice("verify", "true", ("true",)) == "true",
        drill=section.choice("drill", "false", ("false", "true")) == "true",
        irreversible=section.choice("irreversible", default.irreversible, ("refuse", "freeze")),
        watch_after_minutes=section.number(
            "watch_after_minutes", default.watch_after_minutes, high=1440
        ),
        unverified=section.choice("unverified", default.unverified, ("warn", "refuse")),
    )


def read_evidence(policy: Section) -> EvidenceRules | None:
    """Return the evidence test, None where the policy has none."""
    if "evidence" not in policy.entries:
        return None
    default = EvidenceRules()
    section = policy.child(
        "evidence",
        keys=(
            "kpis",
            "action",
            "max_false_rollback_risk",
            "tolerated_worsening",
            "detect",
            "power",
        ),
    )
    kpis = section.names("kpis", form=KPI, rule=KPI_RULE, most=20)
    listed = section.node("kpis")
    if listed is not None and not kpis:
        section.note(listed.line, "kpis", "no Kpi is named; name one or remove the key")
    worsening = section.child("tolerated_worsening", keys=("ratio", "points"))
    rules = EvidenceRules(
        kpis=kpis or default.kpis,
        action=section.choice("action", default.action, ("pause", "rollback", "warn")),
        max_false_rollback_risk=section.number(
            "max_false_rollback_risk", default.max_false_rollback_risk, above=True, high=20
        ),
        ratio=worsening.number("ratio", default.ratio, low=1, high=100),
        points=worsening.number("points", default.points, high=50),
        detect=section.number("detect", default.detect, above=True, high=100),
        power=section.number("power", default.power, low=50, high=99.9),
    )
    if rules.detect <= rules.points:
        section.note(
            section.line,
            "detect",
            f"a rate of {shown(rules.detect)} % lies within the {shown(rules.points)} points that"
            " are tolerated, so it would never be found; write more, or fewer points",
        )
    return rules
