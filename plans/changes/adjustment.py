"""What an edited policy changes for a plan that runs, change by change: tighter, looser, refused.

Tighter means: under the new rule the console never goes further than it would have gone under
the old one. What cannot be shown to be tighter counts as looser, so that somebody has to agree.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from plans.changes.batches import batch_changes, merged_batches
from plans.changes.change import (
    AGAIN,
    Change,
    Direction,
    Judge,
    Standing,
    either_way,
    fewer,
    higher,
    lower,
    ranked,
)
from plans.changes.evidence import evidence_changes, merged_evidence
from plans.policies.policy import Guardrail, UpgradePolicy, Window
from plans.policies.policy_words import window_words

Resolve = Callable[[Guardrail], Guardrail]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes between two policies, and what may not change while a plan runs."""

    changes: tuple[Change, ...]
    refused: tuple[str, ...] = ()

    @property
    def direction(self) -> Direction:
        """Return what the changes are together: looser as soon as one of them is."""
        directions = {change.direction for change in self.changes}
        return next((d for d in ("looser", "tighter") if d in directions), "neutral")

    @property
    def tighter_paths(self) -> frozenset[str]:
        """Return the paths that may change at once; a path with one looser change is not one."""
        looser = {change.path for change in self.changes if change.direction == "looser"}
        return frozenset({change.path for change in self.changes} - looser)

    @property
    def mixed(self) -> bool:
        """Tell whether a part may change at once while another part waits."""
        return self.direction == "looser" and bool(self.tighter_paths)


def compare(
    before: UpgradePolicy,
    after: UpgradePolicy,
    standing: Standing,
    *,
    resolve: Resolve = lambda guardrail: guardrail,
) -> Comparison:
    """Return what `after` changes for a plan that runs under `before`.

    `resolve` gives a guardrail in its Kpi's unit and direction: 0.05 and 5 % are the same limit.
    """
    changes: list[Change] = []
    for slot, was, reads in paired(before.guardrails, after.guardrails):
        changes += _guardrail_changes(slot, was, reads, resolve)
    refused = _frozen(before, after)
    for group, rules, judged in (("limits", _LIMITS, before.limits), ("on", _ON, before.on)):
        changes += _field_changes(group, rules, judged, getattr(after, group))
    stretched = after.limits.rollback_seconds > before.limits.rollback_seconds
    if stretched:
        refused.append(
            "limits.rollback_seconds: the promise may not be stretched while the plan runs"
            f" ({before.limits.rollback_seconds:g} s); {AGAIN}"
        )
    of_batches, batches_refused = batch_changes(before, after, standing)
    changes += of_batches
    if before.selection.hold_back_percentage and before.advance != after.advance:
        gate = ranked("automatic", "manual")(before.advance, after.advance)
        changes.append(Change("advance", "hold-back", before.advance, after.advance, gate))
    changes += _window_changes(before, after)
    changes += evidence_changes(before.evidence, after.evidence)
    if before.description != after.description:
        changes.append(
            Change(
                "description", "description", before.description or "none",
                after.description or "none", "neutral",
            )
        )  # fmt: skip
    return Comparison(tuple(changes), (*refused, *batches_refused))


def merged(
    before: UpgradePolicy, after: UpgradePolicy, paths: Collection[str], standing: Standing
) -> UpgradePolicy:
    """Return `before` with the changes of these paths, and of no others."""
    rules = [
        rule
        for slot, was, reads in paired(before.guardrails, after.guardrails)
        if (rule := _merged_guardrail(slot, was, reads, paths)) is not None
    ]
    rules.sort(key=lambda rule: rule.slow_share_percent is None)
    policy = replace(
        before,
        guardrails=tuple(rules),
        limits=_merged_fields("limits", before.limits, after.limits, paths),
        on=_merged_fields("on", before.on, after.on, paths),
        batches=merged_batches(before.batches, after.batches, paths, standing.begun),
        evidence=merged_evidence(before.evidence, after.evidence, paths),
    )
    if "windows" in paths:
        policy = replace(policy, windows=after.windows, not_after=after.not_after)
    if "windows_closing" in paths:
        policy = replace(policy, windows_closing=after.windows_closing)
    if "advance" in paths:
        policy = replace(policy, advance=after.advance)
    return replace(policy, description=after.description) if "description" in paths else policy


def restored(
    now: UpgradePolicy,
    before: UpgradePolicy,
    paths: Collection[str],
    standing: Standing,
    *,
    resolve: Resolve = lambda guardrail: guardrail,
) -> UpgradePolicy:
    """Return the policy of now with what a loosening changed put back as it was before it.

    What became tighter in the meantime stays as tight as it is.
    """
    wanted = compare(now, merged(now, before, paths, standing), standing, resolve=resolve)
    return merged(now, before, wanted.tighter_paths, standing)


def paired(
    before: Sequence[Guardrail], after: Sequence[Guardrail]
) -> list[tuple[str, Guardrail | None, Guardrail | None]]:
    """Return (slot, guardrail before, guardrail after) for each guardrail of either policy.

    Guardrails of one Kpi belong together when they are equal, else when they look the same way
    and do the same, else by their order.
    """
    pairs: list[tuple[str, Guardrail | None, Guardrail | None]] = []
    for kpi in dict.fromkeys(rule.kpi for rule in (*before, *after)):
        old = [rule for rule in before if rule.kpi == kpi]
        new: list[Guardrail | None] = [rule for rule in after if rule.kpi == kpi]
        found: list[Guardrail | None] = [None] * len(old)
        for alike in _LIKENESS:
            for index, rule in enumerate(old):
                if found[index] is None:
                    twin = next((n for n in new if n is not None and alike(rule, n)), None)
                    if twin is not None:
                        found[index] = twin
                        new.remove(twin)
        all_pairs = [*zip(old, found, strict=True), *((None, rule) for rule in new)]
        for number, (was, reads) in enumerate(all_pairs, start=1):
            pairs.append((kpi if number == 1 else f"{kpi}#{number}", was, reads))
    return pairs


_LIKENESS: tuple[Callable[[Guardrail, Guardrail], bool], ...] = (
    lambda one, other: one == other,
    lambda one, other: (
        (one.at_most is None) == (other.at_most is None) and one.action == other.action
    ),
    lambda one, other: True,
)


# A shorter window sees less and a longer one later; fewer samples let a batch pass on less: both
# ways can let something by, so both need somebody who agrees. So do keys that are not named here.
_GUARDRAIL: Mapping[str, Judge] = {
    "failure_limit": lower,
    "consecutive_error_limit": lower,
    "action": ranked("warn", "pause", "rollback"),
    "on_missing": ranked("ignore", "hold", "breach"),
    "critical": ranked(False, True),
    "dry_run": ranked(True, False),
}
_LIMITS: Mapping[str, Judge] = {
    "failure_rate": lower,
    "failures": fewer,
    "batch_minutes": lower,
    "rollback_seconds": lower,
    "missing_metrics_minutes": lower,
    "hold_minutes": lower,
    "success_rate": higher,
    # Fewer at once: slower back as well, which the rollback quote judges.
    "parallelism": lower,
    "call_timeout_seconds": lower,
    "look_seconds": lower,
}
_ON: Mapping[str, Judge] = dict.fromkeys(
    ("failure_rate", "batch_overrun", "missing_metrics", "hold_expired"),
    ranked("hold", "rollback"),
)
_UNITS = {
    "failure_rate": "%",
    "success_rate": "%",
    "batch_minutes": "min",
    "missing_metrics_minutes": "min",
    "hold_minutes": "min",
    "rollback_seconds": "s",
    "call_timeout_seconds": "s",
    "look_seconds": "s",
    "window_seconds": "s",
    "initial_delay_seconds": "s",
}


def _shown(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "no bound"
    words = f"{value:g}" if isinstance(value, int | float) else str(value)
    return f"{words} {_UNITS[name]}" if name in _UNITS else words


def _label(name: str) -> str:
    return name.removesuffix("_seconds").removesuffix("_minutes").replace("_", " ")


def _field_changes(
    group: str, rules: Mapping[str, Judge], before: Any, after: Any
) -> Iterable[Change]:
    for name in (field.name for field in fields(before)):
        was, reads = getattr(before, name), getattr(after, name)
        if was != reads:
            what = _label(name) if group == "limits" else f"when {_label(name)}"
            judged = rules.get(name, either_way)(was, reads)
            yield Change(f"{group}.{name}", what, _shown(name, was), _shown(name, reads), judged)


def _merged_fields(group: str, before: Any, after: Any, paths: Collection[str]) -> Any:
    names = [field.name for field in fields(before) if f"{group}.{field.name}" in paths]
    return replace(before, **{name: getattr(after, name) for name in names})


# Guardrails.

_LIMIT_FIELDS = ("at_most", "at_least", "unit", "slow_share_percent")


def _guardrail_changes(
    slot: str, was: Guardrail | None, reads: Guardrail | None, resolve: Resolve
) -> Iterable[Change]:
    path = f"guardrails.{slot}"
    if was is None or reads is None:
        if reads is not None:
            yield Change(path, slot, "no guardrail", _rule_words(resolve(reads)), "tighter")
        elif was is not None:
            yield Change(path, slot, _rule_words(resolve(was)), "no guardrail", "looser")
        return
    # An entry of rollback_thresholds has no other keys: it becomes a guardrail as a whole.
    # A number that is compared with something else means something else.
    whole = (was.slow_share_percent is None) != (reads.slow_share_percent is None)
    whole = whole or was.against != reads.against
    old, new = resolve(was), resolve(reads)
    if _limit(old) != _limit(new):
        judged = _limit_direction(old, new)
        limit_path = path if whole else f"{path}.limit"
        yield Change(limit_path, slot, limit_text(old), limit_text(new), judged)
    for name in (field.name for field in fields(old)):
        before, after = getattr(old, name), getattr(new, name)
        if name == "kpi" or name in _LIMIT_FIELDS or before == after:
            continue
        yield Change(
            path if whole else f"{path}.{name}",
            f"{slot}, {_label(name)}",
            _shown(name, before),
            _shown(name, after),
            _GUARDRAIL.get(name, either_way)(before, after),
        )


def _limit(rule: Guardrail) -> tuple[object, ...]:
    return tuple(getattr(rule, name) for name in _LIMIT_FIELDS)


def _limit_direction(before: Guardrail, after: Guardrail) -> Direction:
    if (before.unit, before.slow_share_percent) != (after.unit, after.slow_share_percent):
        return "looser"
    if before.at_most is not None and after.at_most is not None:
        return lower(before.at_most, after.at_most)
    if before.at_least is not None and after.at_least is not None:
        return higher(before.at_least, after.at_least)
    return "looser"


def limit_text(rule: Guardrail) -> str:
    """Return the limit as 'at most 5 %'."""
    side = "at least" if rule.at_most is None else "at most"
    number = rule.at_least if rule.at_most is None else rule.at_most
    words = f"{side} {number:g} {rule.unit or ''}".rstrip()
    if rule.against != "absolute":
        return f"{words} against {rule.against.replace('_', ' ')}"
    share = rule.slow_share_percent
    return words if share is None else f"{words} for {100 - share:g} %"


def _rule_words(rule: Guardrail) -> str:
    if rule.dry_run:
        return f"{limit_text(rule)} (dry run)"
    return f"{limit_text(rule)}, else {rule.action}"


def _merged_guardrail(
    slot: str, was: Guardrail | None, reads: Guardrail | None, paths: Collection[str]
) -> Guardrail | None:
    path = f"guardrails.{slot}"
    if path in paths:
        return reads
    if was is None or reads is None:
        return was
    names = [f.name for f in fields(was) if f"{path}.{f.name}" in paths]
    if f"{path}.limit" in paths:
        names += _LIMIT_FIELDS
    return replace(was, **{name: getattr(reads, name) for name in names})


# Windows, and what stays as it is.


def _window_changes(before: UpgradePolicy, after: UpgradePolicy) -> Iterable[Change]:
    if (before.windows, before.not_after) != (after.windows, after.not_after):
        judged: Direction = "tighter" if _only_narrower(before, after) else "looser"
        yield Change("windows", "windows", _windows(before), _windows(after), judged)
    if before.windows_closing != after.windows_closing:
        closing = before.windows_closing, after.windows_closing
        waits = ranked("finish_batch", "wait")(*closing)
        yield Change("windows_closing", "when a window closes in a batch", *closing, waits)


def _only_narrower(before: UpgradePolicy, after: UpgradePolicy) -> bool:
    def of(policy: UpgradePolicy, kind: str) -> set[Window]:
        return {window for window in policy.windows if window.kind == kind}

    old, new = of(before, "allow"), of(after, "allow")
    # Without an allow window everything is allowed that is not denied.
    allowed = old == new or (bool(new) and (not old or new <= old))
    ends = after.not_after is not None and (
        before.not_after is None or after.not_after <= before.not_after
    )
    return (
        allowed
        and of(before, "deny") <= of(after, "deny")
        and (ends or before.not_after == after.not_after)
    )


def _windows(policy: UpgradePolicy) -> str:
    said = [window_words(window) for window in policy.windows]
    if policy.not_after is not None:
        said.append(f"Never after {policy.not_after:%Y-%m-%d %H:%M} UTC.")
    return " ".join(said) or "at any time"


def _frozen(before: UpgradePolicy, after: UpgradePolicy) -> list[str]:
    refused = []
    if before.selection != after.selection:
        refused.append(
            "selection: who comes first and who never was settled when the plan was approved;"
            f" {AGAIN}"
        )
    if before.approvals != after.approvals:
        refused.append(f"approvals: who must agree may not change while the plan runs; {AGAIN}")
    if before.rollback != after.rollback:
        refused.append(
            f"rollback: how a rollback goes may not change while one may be needed; {AGAIN}"
        )
    return refused
