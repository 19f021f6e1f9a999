"""Read the guardrails of one policy, with every refusal of what cannot be meant."""

from collections.abc import Sequence

from plans.policies.policy import FACTOR, POINTS, SLOW_SHARE_PERCENT, Guardrail, Selection
from plans.policies.yaml_section import KPI, KPI_RULE, Section, clipped

_HUGE = 1e12
_GUARDRAIL_KEYS = (
    "kpi",
    "at_most",
    "at_least",
    "unit",
    "against",
    "window",
    "min_samples",
    "failure_limit",
    "consecutive_error_limit",
    "initial_delay",
    "on_missing",
    "action",
    "scope",
    "critical",
    "dry_run",
)


def read_thresholds(policy: Section) -> tuple[Guardrail, ...]:
    """Return the guardrails that `rollback_thresholds` stands for."""
    section = policy.child("rollback_thresholds", keys=None)
    guardrails = []
    for kpi, entry in section.entries.items():
        if not KPI.fullmatch(kpi):
            section.note(entry.line, kpi, f"'{clipped(kpi)}' is not a Kpi name; {KPI_RULE}")
        value = section.number(kpi, 0, low=-_HUGE, high=_HUGE)
        guardrails.append(Guardrail(kpi=kpi, at_most=value, slow_share_percent=SLOW_SHARE_PERCENT))
    return tuple(guardrails)


def read_guardrails(policy: Section) -> tuple[Guardrail, ...]:
    """Return the entries of `guardrails`."""
    return tuple(
        _read_guardrail(Section(node, path, policy.problems, keys=_GUARDRAIL_KEYS))
        for node, path in policy.items("guardrails", most=100)
    )


def _read_guardrail(rule: Section) -> Guardrail:
    rule.require("kpi")
    if rule.read and ("at_most" in rule.entries) == ("at_least" in rule.entries):
        rule.note(
            rule.line, "", "write exactly one of at_most (bad above it) and at_least (bad below it)"
        )
    default = Guardrail(kpi="")
    guardrail = Guardrail(
        kpi=rule.name("kpi", form=KPI, rule=KPI_RULE),
        at_most=rule.optional_number("at_most", low=-_HUGE, high=_HUGE, above=False),
        at_least=rule.optional_number("at_least", low=-_HUGE, high=_HUGE, above=False),
        unit=rule.text("unit", most=20) or None,
        against=rule.choice("against", default.against, ("absolute", "control", "own_history")),
        window_seconds=rule.duration("window", default.window_seconds, above=True, high=86400),
        min_samples=rule.whole("min_samples", default.min_samples, low=1, high=10**9),
        failure_limit=rule.whole("failure_limit", default.failure_limit, low=0, high=1000),
        consecutive_error_limit=rule.whole(
            "consecutive_error_limit", default.consecutive_error_limit, low=0, high=1000
        ),
        initial_delay_seconds=rule.duration(
            "initial_delay", default.initial_delay_seconds, high=86400
        ),
        on_missing=rule.choice(
            "on_missing", default.on_missing, ("hold", "breach", "ignore", "zero")
        ),
        action=rule.choice("action", default.action, ("rollback", "pause", "warn")),
        scope=rule.choice("scope", default.scope, ("plan", "batch", "tenant")),
        critical=rule.flag("critical", default.critical),
        dry_run=rule.flag("dry_run", default.dry_run),
    )
    _check_unit(rule, guardrail)
    return guardrail


def _check_unit(rule: Section, guardrail: Guardrail) -> None:
    """Note what cannot be meant by the guardrail's unit, or can be meant in two ways."""
    unit, line = guardrail.unit, rule.line
    if guardrail.against == "absolute":
        if unit in (POINTS, FACTOR):
            said = f"'{unit}' compares with others; add against: control or against: own_history"
            rule.note(line, "unit", f"{said}, or write the Kpi's own unit")
        return
    if unit is None:
        rule.note(
            line,
            "unit",
            f"against: {guardrail.against} needs one: {POINTS} (at_most: 2 = two percentage points"
            f" more than theirs), {FACTOR} (at_most: 1.2 = 1.2 times theirs), or the Kpi's own unit"
            " such as ms (at_most: 50 = 50 ms more)",
        )
    elif unit in ("%", "1"):
        rule.note(
            line,
            "unit",
            f"'{unit}' may mean percentage points or a part of theirs; write unit: {POINTS}"
            f" (at_most: 2 = two points more) or unit: {FACTOR} (at_most: 1.2 = 1.2 times theirs)",
        )
    number = guardrail.at_least if guardrail.at_most is None else guardrail.at_most
    if unit == FACTOR and number is not None and number <= 0:
        rule.note(line, "unit", f"a factor is above 0; write at_most: 1.2, unit: {FACTOR}")
    if guardrail.on_missing == "zero":
        rule.note(
            line,
            "on_missing",
            "'zero' would compare nothing with something; write hold, breach or ignore",
        )


def check_last_batch(
    policy: Section, guardrails: Sequence[Guardrail], selection: Selection
) -> None:
    """Note guardrails for which the last batch could never pass: nobody is left to compare with."""
    node = policy.node("guardrails")
    stuck = [
        rule.kpi
        for rule in guardrails
        if rule.against == "control"
        and rule.critical
        and not rule.dry_run
        and rule.on_missing != "ignore"
    ]
    if node is None or not stuck or selection.hold_back_percentage > 0:
        return
    policy.note(
        node.line,
        "guardrails",
        f"{stuck[0]} against: control: in the last batch nobody is left on the old version, so it"
        " could never pass; hold tenants back to the end (selection: {hold_back_percentage: 2}),"
        " or write on_missing: ignore or critical: false",
    )
