"""What a policy means, in sentences with units; shown before a plan is made and beside its text."""

from collections.abc import Callable
from dataclasses import dataclass

from plans.counted_words import counted
from plans.policies.policy import (
    FACTOR,
    ApprovalRule,
    BatchSpec,
    EvidenceRules,
    Guardrail,
    Selection,
    TenantSelector,
    UpgradePolicy,
    Window,
)

_HELD = "nothing new starts and a person decides"
_OUTCOMES = {
    "plan": {"rollback": "everything is taken back", "hold": _HELD},
    "batch": {
        "rollback": "the newest batch is taken back and a person decides about the rest",
        "hold": _HELD,
    },
    "tenant": {"rollback": "everything is taken back", "hold": _HELD},
}
"""What a condition does, by `rollback.scope`."""
_QUARANTINE = (
    "A tenant whose calls fail goes back alone, into quarantine, while its batch goes on within the"
    " budget."
)
_FAILED_ALONE = "they are taken back, the others stay, and a person decides"
_ORDERS = {
    "shuffle": "Tenants are drawn in random order; the seed is recorded.",
    "listed": "Tenants are taken in the order in which they are listed.",
    "risk": "Tenants with the least risk come first; equals are drawn in random order.",
}
_ALL_DAYS = 7


@dataclass(frozen=True, slots=True)
class Meaning:
    """One part of a policy: its title and what it says."""

    title: str
    sentences: tuple[str, ...]


def span(seconds: float) -> str:
    """Return a length of time as people say it: 45 s, 30 min, 1 h 30 min, 2 d."""
    if seconds < 60:
        return f"{seconds:g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def limit_words(guardrail: Guardrail, *, unit: str = "", kind: str = "") -> str:
    """Return the limit of a guardrail: 'above 5 %', 'above 200 ms for more than 5 % of …'.

    `unit` and `kind` are the Kpi's own, where the dictionary is at hand.
    """
    unit = guardrail.unit or unit
    if guardrail.against != "absolute":
        return _relative_words(guardrail, unit)
    beside = f" {unit}" if unit and unit != "1" else ""
    if guardrail.slow_share_percent is not None and kind in ("", "histogram"):
        share = f"{guardrail.slow_share_percent:g} % of the requests"
        if kind == "histogram":
            return f"above {guardrail.at_most:g}{beside} for more than {share}"
        return f"above {guardrail.at_most:g}{beside} (a histogram: for more than {share})"
    limits = []
    if guardrail.at_most is not None:
        limits.append(f"above {guardrail.at_most:g}{beside}")
    if guardrail.at_least is not None:
        limits.append(f"below {guardrail.at_least:g}{beside}")
    return " or ".join(limits)


def _relative_words(guardrail: Guardrail, unit: str) -> str:
    """Return the limit of a guardrail that compares: 'more than 2 points above control'."""
    other = "control" if guardrail.against == "control" else "each tenant's own history"
    most = guardrail.at_most is not None
    number = guardrail.at_most if guardrail.at_most is not None else guardrail.at_least or 0.0
    if unit == FACTOR:
        return f"{'above' if most else 'below'} {number:g} x {other}"
    side = "above" if number >= 0 else "below"
    much = "more" if most == (number >= 0) else "less"
    return f"{much} than {abs(number):g} {unit} {side} {other}"


def outcome_words(guardrail: Guardrail, *, scope: str = "plan") -> str:
    """Return what a breach does; `scope` is the policy's `rollback.scope`."""
    if guardrail.dry_run:
        return "only shown, nothing else happens (dry run)"
    if guardrail.action == "rollback":
        if guardrail.scope == "tenant":
            return "that tenant is taken back alone, and the plan goes on within the failure budget"
        if guardrail.scope == "batch" or scope == "batch":
            return "the newest batch is taken back and a person decides about the rest"
        return "the whole plan is taken back"
    if guardrail.action == "pause":
        return "the plan pauses"
    return "an alert, nothing else"


_JUDGED = {"plan": "", "batch": ", of the present batch alone", "tenant": ", tenant by tenant"}


def judged_words(guardrail: Guardrail) -> str:
    """Return over what and how often in a row a guardrail is judged."""
    looks = guardrail.failure_limit + 1
    words = (
        f"over {span(guardrail.window_seconds)}, at least"
        f" {counted(guardrail.min_samples, 'sample')}{_JUDGED[guardrail.scope]}, "
    )
    words += "in one look" if looks == 1 else f"in {looks} looks running"
    if guardrail.initial_delay_seconds:
        words += f", from {span(guardrail.initial_delay_seconds)} after the upgrade on"
    return words


_MISSING = {
    "hold": "without data it holds",
    "breach": "missing data counts as failed",
    "ignore": "missing data is let pass",
    "zero": "no series counts as 0, other missing data holds",
}


def missing_words(guardrail: Guardrail) -> str:
    """Return what happens when the numbers stay away."""
    after = f"after {counted(guardrail.consecutive_error_limit, 'failed reading')}"
    return f"{_MISSING[guardrail.on_missing]} {after}"


def guardrail_sentence(
    guardrail: Guardrail, *, unit: str = "", kind: str = "", scope: str = "plan"
) -> str:
    """Return the whole rule as one sentence; `scope` is the policy's `rollback.scope`."""
    return (
        f"{guardrail.kpi} {limit_words(guardrail, unit=unit, kind=kind)}:"
        f" {outcome_words(guardrail, scope=scope)}. Judged {judged_words(guardrail)};"
        f" {missing_words(guardrail)}."
    )


def window_words(window: Window) -> str:
    """Return when a window holds."""
    days = "every day" if len(set(window.days)) == _ALL_DAYS else ", ".join(window.days)
    what = "Upgrades may start" if window.kind == "allow" else "Nothing starts"
    end = "24:00" if f"{window.end:%H:%M}" == "00:00" else f"{window.end:%H:%M}"
    return f"{what} {days} from {window.start:%H:%M} to {end} ({window.timezone})."


def _selector(selector: TenantSelector) -> str:
    if isinstance(selector, str):
        return selector
    return "those with " + ", ".join(f"{label}={value}" for label, value in selector.items())


def _batch(batch: BatchSpec) -> str:
    begin = "; a person lets it begin" if batch.advance == "manual" else ""
    soak = f"soaks {span(batch.soak_seconds)}" if batch.soak_seconds else "does not soak"
    charted = f"; charts {', '.join(batch.metrics)}" if batch.metrics else ""
    return f"{batch.name}: {batch.percentage:g} % of the tenants, {soak}{begin}{charted}."


def _selection(selection: Selection) -> list[str]:
    said = [_ORDERS[selection.order]]
    if selection.rings:
        rings = ", then ".join(_selector(ring) for ring in selection.rings)
        said.append(f"First come {rings}, then all others.")
    if selection.pin:
        said.append(f"Always in the first batch: {'; '.join(map(_selector, selection.pin))}.")
    if selection.exclude:
        said.append(f"Never upgraded: {'; '.join(map(_selector, selection.exclude))}.")
    if selection.hold_back_percentage:
        said.append(
            f"{selection.hold_back_percentage:g} % are held back to the end, as a last batch."
        )
    return said


def _budget(policy: UpgradePolicy) -> str:
    limits = policy.limits
    if limits.failures is None:
        return f"more than {limits.failure_rate:g} % of a batch fail"
    return (
        f"more than {counted(limits.failures, 'tenant')} or more than {limits.failure_rate:g} %"
        " of a batch fail"
    )


def _conditions(policy: UpgradePolicy) -> list[str]:
    limits, on = policy.limits, policy.on
    outcomes = _OUTCOMES[policy.rollback.scope]
    alone = policy.rollback.scope == "tenant" and on.failure_rate == "rollback"
    budget = f"When {_budget(policy)}: {_FAILED_ALONE if alone else outcomes[on.failure_rate]}."
    rows = (
        (f"a batch is called for over {limits.batch_minutes:g} min", on.batch_overrun),
        (f"numbers are missing for {limits.missing_metrics_minutes:g} min", on.missing_metrics),
        (f"a hold lasts {limits.hold_minutes:g} min", on.hold_expired),
    )
    return [budget, *(f"When {when}: {outcomes[what]}." for when, what in rows)]


def _rollback(policy: UpgradePolicy) -> list[str]:
    rules, limits = policy.rollback, policy.limits
    said = [
        _QUARANTINE,
        f"Everything is back within {limits.rollback_seconds:g} s, else a person is called.",
        f"After a manual pause nobody answered for {span(rules.rollback_after_seconds)},"
        " everything is taken back.",
    ]
    if rules.drill:
        said.append(
            "Before the plan widens, one tenant of the first batch is taken back and forward again."
        )
    if rules.watch_after_minutes:
        said.append(
            "Afterwards the metrics of the restored tenants are watched until they are back in"
            f" band, for {span(60 * rules.watch_after_minutes)} at most."
        )
    if rules.unverified == "refuse":
        said.append(
            "Nothing begins whose rollback would bring back a version without a signature that"
            " holds."
        )
    if rules.irreversible == "refuse":
        said.append("Releases that cannot be taken back are refused.")
    else:
        said.append(
            "A release that cannot be taken back may be upgraded: then nothing of the above"
            " restores anything, every trigger stops the plan for a person."
        )
    return said


def tolerated_words(rules: EvidenceRules) -> str:
    """Return what counts as no worse: 'x1.2 + 0.5 points'."""
    return f"x{rules.ratio:g} + {rules.points:g} points"


def _without_guardrails(policy: UpgradePolicy) -> str:
    if policy.evidence is not None:
        return "None; the evidence test judges."
    return "None: no metric takes anything back."


def _evidence(rules: EvidenceRules, policy: UpgradePolicy) -> list[str]:
    does = {
        "pause": "the plan pauses",
        "rollback": "the whole plan is taken back"
        if policy.rollback.scope != "batch"
        else "the newest batch is taken back and a person decides about the rest",
        "warn": "an alert, nothing else",
    }[rules.action]
    said = [
        f"{' and '.join(rules.kpis)} of the upgraded tenants against those still waiting, at every"
        f" look: worse than {tolerated_words(rules)}, with at most"
        f" {rules.max_false_rollback_risk:g} % risk of being wrong: {does}.",
        f"A batch passes only when as many requests were seen as find a rate of {rules.detect:g} %"
        f" with {rules.power:g} % probability.",
        "Where the tenants' history is too short it only warns.",
    ]
    if not policy.selection.hold_back_percentage:
        said.append(
            "Nobody is held back: in the last batch there is nobody left to compare with."
            " A hold_back_percentage of 2 keeps the test alive to the end."
        )
    return said


def evidence_words(policy: UpgradePolicy) -> tuple[str, ...]:
    """Return what the evidence test compares and what follows from it; nothing without one."""
    return () if policy.evidence is None else tuple(_evidence(policy.evidence, policy))


def _limits(policy: UpgradePolicy) -> list[str]:
    limits = policy.limits
    return [
        f"At most {counted(limits.parallelism, 'call')} at once,"
        f" {counted(limits.attempts, 'attempt')} each,"
        f" {span(limits.call_timeout_seconds)} per call.",
        f"At least {limits.success_rate:g} % of the tenants must get there.",
    ]


def _approvals(policy: UpgradePolicy, rule: ApprovalRule | None) -> list[str]:
    if rule is None:
        return [f"The entry {policy.approvals!r}."]
    return [
        f"{' and '.join(rule.required_roles)} must agree, a different person for each,"
        f" none of them an author ({rule.name}).",
        f"They have {span(60 * rule.max_pending_minutes)}; then the plan expires.",
        "What they approved may be started until"
        f" {span(60 * rule.start_within_minutes)} after the first moment at which it could.",
        f"{' or '.join(rule.gate_roles)} lets a batch begin at a manual gate, never an author."
        if rule.gate_roles
        else "Whoever may promote lets a batch begin at a manual gate.",
    ]


def when_words(policy: UpgradePolicy) -> tuple[str, ...]:
    """Return when new calls may start, in words."""
    windows = [window_words(window) for window in policy.windows] or ["At any time."]
    if policy.windows and policy.windows_closing == "finish_batch":
        windows.append("A batch that is being called when a window closes is called to its end.")
    elif policy.windows:
        windows.append("A batch in whose calls a window closes waits for the next opening.")
    if policy.not_after is not None:
        windows.append(f"Never after {policy.not_after:%Y-%m-%d %H:%M %Z}.")
    return tuple(windows)


def meaning(
    policy: UpgradePolicy,
    rule: ApprovalRule | None = None,
    *,
    sentence_of: Callable[..., str] = guardrail_sentence,
) -> list[Meaning]:
    """Return the whole policy in words, part by part."""
    scope = policy.rollback.scope
    guardrails = [sentence_of(guardrail, scope=scope) for guardrail in policy.guardrails]
    parts = (
        ("Batches", [_batch(batch) for batch in policy.batches]),
        ("Guardrails", guardrails or [_without_guardrails(policy)]),
        ("Evidence", evidence_words(policy)),
        ("Order and choice", _selection(policy.selection)),
        ("When", when_words(policy)),
        ("Who must approve", _approvals(policy, rule)),
        ("Conditions, each with an alert", _conditions(policy)),
        ("Taking back", _rollback(policy)),
        ("Limits", _limits(policy)),
    )
    return [Meaning(title, tuple(said)) for title, said in parts if said]
