"""What somebody wants changed in a running plan -> the whole policy text that would then apply.

A change set is an edited policy text, the newest text of a policy by its name, or a short form
that names single values. Whatever it is, the next revision keeps a full text with its digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batches.configured import dictionary
from batches.guardrails.verdict import guardrail_key
from batches.kpis.dictionary import GuardrailUnusable, resolve_guardrail
from plans.drafting.drafting import latest_policy, pinned_file, written_policy
from plans.models import PlanRevision, Policy
from plans.policies.keeping import policy_digest
from plans.policies.policy import (
    ApprovalRule,
    BatchSpec,
    Guardrail,
    Limits,
    PolicyFile,
    UpgradePolicy,
)
from plans.policies.policy_text import NotWritable, is_threshold, policy_text
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import BadInput

_NUMBER, _WHOLE, _FLAG, _WORD = "a number", "a whole number", "true or false", "a word"
_GUARDRAIL_KEYS: Mapping[str, tuple[str, str]] = {
    "at_most": ("at_most", _NUMBER),
    "at_least": ("at_least", _NUMBER),
    "unit": ("unit", _WORD),
    "window": ("window_seconds", _NUMBER),
    "min_samples": ("min_samples", _WHOLE),
    "failure_limit": ("failure_limit", _WHOLE),
    "consecutive_error_limit": ("consecutive_error_limit", _WHOLE),
    "initial_delay": ("initial_delay_seconds", _NUMBER),
    "action": ("action", _WORD),
    "critical": ("critical", _FLAG),
    "dry_run": ("dry_run", _FLAG),
}
_BATCH_KEYS: Mapping[str, tuple[str, str]] = {
    "percentage": ("percentage", _NUMBER),
    "soak_minutes": ("soak_seconds", _NUMBER),
    "advance": ("advance", _WORD),
}
_WHOLE_LIMITS = frozenset({"parallelism", "attempts"})


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What is to change: one of `text`, `policy` (a name), or any of the short form's parts.

    `guardrails`: Kpi (or Kpi#2, or the guardrail's key) to its new number, to its new keys, or to
    None, which removes it. `batches`: name to its new keys, or None. `limits` and `on`: key to
    value.
    """

    text: str = ""
    policy: str = ""
    guardrails: Mapping[str, Any] = field(default_factory=dict)
    batches: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    on: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edited:
    """The policy that would apply, as the next revision will keep it."""

    row: Policy
    name: str
    text: str
    digest: str
    policy: UpgradePolicy
    approvals: Mapping[str, ApprovalRule]

    @classmethod
    def read(cls, row: Policy, name: str, text: str) -> "Edited":
        """Return the policy of that name in the text; BadInput with everything that is wrong."""
        try:
            parsed = parse_policy_file(text)
        except PolicyRejected as rejected:
            raise BadInput(
                [str(problem) for problem in rejected.problems], code="policy_rejected"
            ) from rejected
        if name not in parsed.policies:
            there = ", ".join(parsed.policies) or "none"
            raise BadInput([f"policy: the text has no policy {name!r}; it has {there}"])
        return cls(
            row, name, text, policy_digest(parsed, name), parsed.policies[name], parsed.approvals
        )


def edited(revision: PlanRevision, wanted: ChangeSet) -> Edited:
    """Return what would apply after the change; raise BadInput with all problems."""
    short = bool(wanted.guardrails or wanted.batches or wanted.limits or wanted.on)
    if short + bool(wanted.text) + bool(wanted.policy) != 1:
        raise BadInput(
            [
                "changes: write either a policy text, the name of a policy, or any of"
                " guardrails, batches, limits and on"
            ]
        )
    if wanted.policy:
        row = latest_policy(wanted.policy)
        if row is None:
            raise BadInput([f"policy: there is no policy {wanted.policy!r}"])
        return Edited.read(row, row.name, row.text)
    if wanted.text:
        return Edited.read(revision.policy, revision.policy_name, wanted.text)
    return rewritten(revision, _applied(written_policy(revision), wanted))


def rewritten(revision: PlanRevision, policy: UpgradePolicy) -> Edited:
    """Return the policy as a text beside the approvals of the revision; BadInput when it cannot."""
    approvals = pinned_file(revision).approvals
    try:
        text = policy_text(PolicyFile({policy.name: policy}, approvals))
    except NotWritable as cannot:
        raise BadInput([str(cannot)]) from cannot
    try:
        return Edited.read(revision.policy, policy.name, text)
    except BadInput as bad:
        if not isinstance(bad.__cause__, PolicyRejected):
            raise
        # The text is ours, so its lines tell nobody anything; the places do.
        prefix = f"policies.{policy.name}."
        problems = [f"{p.path.removeprefix(prefix)}: {p.message}" for p in bad.__cause__.problems]
        raise BadInput(problems, code="policy_rejected") from bad


def in_kpi_words(rule: Guardrail) -> Guardrail:
    """Return the guardrail in its Kpi's unit and direction; as it is where that cannot be said."""
    definition = dictionary().kpi(rule.kpi)
    if definition is None:
        return rule
    try:
        return replace(resolve_guardrail(rule, definition), kpi=rule.kpi)
    except GuardrailUnusable:
        return rule


def slots_of(policy: UpgradePolicy) -> dict[str, Guardrail]:
    """Return the policy's guardrails by the names that the short form knows them by."""
    seen: dict[str, int] = {}
    slots: dict[str, Guardrail] = {}
    for rule in policy.guardrails:
        seen[rule.kpi] = seen.get(rule.kpi, 0) + 1
        slots[rule.kpi if seen[rule.kpi] == 1 else f"{rule.kpi}#{seen[rule.kpi]}"] = rule
    return slots


def _applied(policy: UpgradePolicy, wanted: ChangeSet) -> UpgradePolicy:
    problems: list[str] = []
    changed = replace(
        policy,
        guardrails=_guardrails(policy, wanted.guardrails, problems),
        batches=_batches(policy, wanted.batches, problems),
        limits=_limits(policy, wanted.limits, problems),
        on=_conditions(policy, wanted.on, problems),
    )
    if problems:
        raise BadInput(problems)
    return changed


def _guardrails(
    policy: UpgradePolicy, wanted: Mapping[str, Any], problems: list[str]
) -> tuple[Guardrail, ...]:
    slots: dict[str, Guardrail | None] = dict(slots_of(policy))
    by_key = {guardrail_key(rule): slot for slot, rule in slots.items() if rule is not None}
    for name, value in wanted.items():
        slot = by_key.get(name, name)
        path = f"guardrails.{name}"
        if value is None and slot in slots:
            slots[slot] = None
            continue
        old = slots.get(slot)
        keys = _own_number(old, value) if not isinstance(value, Mapping) else value
        if old is None and not {"at_most", "at_least"} & set(keys):
            there = ", ".join(slots) or "none"
            problems.append(
                f"{path}: the policy has no such guardrail (it has {there}); to add one, write"
                " at_most or at_least"
            )
            continue
        said = _read(keys, _GUARDRAIL_KEYS, path, problems)
        slots[slot] = _with(old or Guardrail(kpi=name), said)
    rules = [rule for rule in slots.values() if rule is not None]
    rules.sort(key=lambda rule: not is_threshold(rule))
    return tuple(rules)


def _own_number(rule: Guardrail | None, value: object) -> dict[str, object]:
    """Return the number under the side that the guardrail has."""
    if rule is not None and rule.at_most is None:
        return {"at_least": value}
    return {"at_most": value}


def _with(rule: Guardrail, said: Mapping[str, Any]) -> Guardrail:
    if is_threshold(rule) and set(said) - {"at_most"}:
        # Under rollback_thresholds only the number can be written; as a guardrail it says the same.
        rule = replace(in_kpi_words(rule), slow_share_percent=None)
    if "at_most" in said and "at_least" not in said:
        rule = replace(rule, at_least=None)
    if "at_least" in said and "at_most" not in said:
        rule = replace(rule, at_most=None)
    return replace(rule, **said)


def _batches(
    policy: UpgradePolicy, wanted: Mapping[str, Any], problems: list[str]
) -> tuple[BatchSpec, ...]:
    specs: dict[str, BatchSpec] = {batch.name: batch for batch in policy.batches}
    for name, value in wanted.items():
        path = f"batches.{name}"
        if value is None:
            if specs.pop(name, None) is None:
                problems.append(f"{path}: there is no such batch; there are {', '.join(specs)}")
            continue
        if not isinstance(value, Mapping):
            problems.append(f"{path}: write keys such as soak_minutes, or null to remove it")
            continue
        said = _read(value, _BATCH_KEYS, path, problems)
        if "soak_seconds" in said:
            said["soak_seconds"] *= 60
        missing = {"percentage", "soak_seconds"} - set(said)
        if name not in specs and missing:
            problems.append(
                f"{path}: there is no such batch (there are {', '.join(specs)}); to add one,"
                " write percentage and soak_minutes"
            )
            continue
        old = specs.get(name, BatchSpec(name, 0, 0, advance=policy.advance))
        specs[name] = replace(old, **said)
    return tuple(specs.values())


def _limits(policy: UpgradePolicy, wanted: Mapping[str, Any], problems: list[str]) -> Limits:
    keys = {
        name: (name, _WHOLE if name in _WHOLE_LIMITS else _NUMBER)
        for name in Limits.__dataclass_fields__
    }
    return replace(policy.limits, **_read(wanted, keys, "limits", problems))


def _conditions(policy: UpgradePolicy, wanted: Mapping[str, Any], problems: list[str]) -> Any:
    keys = {name: (name, _WORD) for name in type(policy.on).__dataclass_fields__}
    return replace(policy.on, **_read(wanted, keys, "on", problems))


def _read(
    given: Mapping[str, Any],
    keys: Mapping[str, tuple[str, str]],
    path: str,
    problems: list[str],
) -> dict[str, Any]:
    """Return the values by the names of our fields; what is unknown or misshapen is a problem."""
    said: dict[str, Any] = {}
    for key, value in given.items():
        if key not in keys:
            problems.append(f"{path}.{key}: is not known here; known: {', '.join(keys)}")
            continue
        name, kind = keys[key]
        if _is(kind, value):
            said[name] = value
        else:
            problems.append(f"{path}.{key}: {value!r} is not possible; write {kind}")
    return said


def _is(kind: str, value: object) -> bool:
    if kind == _FLAG or isinstance(value, bool):
        return kind == _FLAG and isinstance(value, bool)
    if kind == _WHOLE:
        return isinstance(value, int)
    if kind == _NUMBER:
        # Neither infinity nor NaN, which JSON readers take.
        return isinstance(value, int | float) and abs(value) <= 1e12
    return isinstance(value, str) and 0 < len(value) <= 63
