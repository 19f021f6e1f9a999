"""Write a policy file from its meaning: reading the text again gives the same policies.

Every default is written out, so that two texts differ exactly where their meanings differ.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC
from decimal import Decimal

import yaml

from plans.policies.policy import (
    SLOW_SHARE_PERCENT,
    START_WITHIN_MINUTES,
    ApprovalRule,
    BatchSpec,
    EvidenceRules,
    Guardrail,
    Labels,
    PolicyFile,
    TenantSelector,
    UpgradePolicy,
    Window,
)

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_NULLS = frozenset({"null", "Null", "NULL"})
_MINUTE = 60.0


class NotWritable(ValueError):
    """The policy says something that no policy file can say; the text names it."""


def policy_text(policy_file: PolicyFile) -> str:
    """Return the text of the file; raise NotWritable for what the file's form has no word for."""
    lines = ["policies:"]
    for policy in policy_file.policies.values():
        lines += [f"  {_word(policy.name)}:", *(f"    {line}" for line in _policy(policy))]
    if policy_file.approvals:
        lines.append("approvals:")
        lines += [f"  {_word(rule.name)}: {_rule(rule)}" for rule in policy_file.approvals.values()]
    return "\n".join(lines) + "\n"


def is_threshold(guardrail: Guardrail) -> bool:
    """Tell whether the guardrail is an entry of `rollback_thresholds`."""
    return guardrail.slow_share_percent is not None


def _policy(policy: UpgradePolicy) -> Iterable[str]:
    if policy.description:
        yield f"description: {_quoted(policy.description)}"
    yield "batches:"
    yield from (f"  - {_batch(batch)}" for batch in policy.batches)
    thresholds = [rule for rule in policy.guardrails if is_threshold(rule)]
    if tuple(thresholds) != policy.guardrails[: len(thresholds)]:
        raise NotWritable("entries of rollback_thresholds stand before all other guardrails")
    if thresholds:
        yield f"rollback_thresholds: {_map({rule.kpi: _threshold(rule) for rule in thresholds})}"
    if len(thresholds) < len(policy.guardrails):
        yield "guardrails:"
        yield from (f"  - {_guardrail(rule)}" for rule in policy.guardrails[len(thresholds) :])
    yield f"approvals: {_word(policy.approvals)}"
    yield f"selection: {_selection(policy)}"
    yield f"advance: {policy.advance}"
    if policy.windows:
        yield "windows:"
        yield from (f"  - {_window(window)}" for window in policy.windows)
    yield f"windows_closing: {policy.windows_closing}"
    if policy.not_after is not None:
        instant = policy.not_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
        yield f"not_after: {instant}"
    limits = {f.name: getattr(policy.limits, f.name) for f in fields(policy.limits)}
    said = {name: _number(value) for name, value in limits.items() if value is not None}
    yield f"limits: {_map(said)}"
    yield f"on: {_map({f.name: getattr(policy.on, f.name) for f in fields(policy.on)})}"
    yield f"rollback: {_rollback(policy)}"
    if policy.evidence is not None:
        yield f"evidence: {_evidence(policy.evidence)}"


def _batch(batch: BatchSpec) -> str:
    said = {
        "name": _word(batch.name),
        "percentage": _number(batch.percentage),
        "soak_minutes": _number(_minutes(batch.soak_seconds)),
    }
    if batch.metrics:
        said["metrics"] = _list(_word(kpi) for kpi in batch.metrics)
    return _map(said | {"advance": batch.advance})


def _minutes(seconds: float) -> float:
    """Return the minutes that read back as exactly these seconds."""
    minutes = seconds / _MINUTE
    for candidate in (minutes, math.nextafter(minutes, 0), math.nextafter(minutes, math.inf)):
        if candidate * _MINUTE == seconds:
            return candidate
    raise NotWritable(f"a soak of {seconds!r} seconds has no exact number of minutes")


def _threshold(rule: Guardrail) -> str:
    plain = Guardrail(rule.kpi, at_most=rule.at_most, slow_share_percent=SLOW_SHARE_PERCENT)
    if rule != plain or rule.at_most is None:
        raise NotWritable(
            f"{rule.kpi} stands under rollback_thresholds, which takes a number alone;"
            " write it under guardrails to change anything else of it"
        )
    return _number(rule.at_most)


def _guardrail(rule: Guardrail) -> str:
    said = {"kpi": _word(rule.kpi)}
    for side in ("at_most", "at_least"):
        if (value := getattr(rule, side)) is not None:
            said[side] = _number(value)
    if rule.unit is not None:
        said["unit"] = _quoted(rule.unit)
    said |= {
        "against": rule.against,
        "window": _number(rule.window_seconds),
        "min_samples": _number(rule.min_samples),
        "failure_limit": _number(rule.failure_limit),
        "consecutive_error_limit": _number(rule.consecutive_error_limit),
        "initial_delay": _number(rule.initial_delay_seconds),
        "on_missing": rule.on_missing,
        "action": rule.action,
        "scope": rule.scope,
        "critical": _flag(rule.critical),
        "dry_run": _flag(rule.dry_run),
    }
    return _map(said)


def _selection(policy: UpgradePolicy) -> str:
    selection = policy.selection
    said = {"order": selection.order}
    if selection.rings:
        said["rings"] = _list(_labels(ring) for ring in selection.rings)
    for key, selectors in (("exclude", selection.exclude), ("pin", selection.pin)):
        if selectors:
            said[key] = _list(_selector(selector) for selector in selectors)
    said["hold_back_percentage"] = _number(selection.hold_back_percentage)
    return _map(said)


def _selector(selector: TenantSelector) -> str:
    return _word(selector) if isinstance(selector, str) else _labels(selector)


def _labels(labels: Labels) -> str:
    return _map({name: _quoted(value) for name, value in labels.items()})


def _window(window: Window) -> str:
    return _map(
        {
            "kind": window.kind,
            "days": _list(window.days),
            "from": _quoted(f"{window.start:%H:%M}"),
            "to": _quoted(f"{window.end:%H:%M}"),
            "timezone": window.timezone,
        }
    )


def _rollback(policy: UpgradePolicy) -> str:
    rules = policy.rollback
    wait = _map({"rollback_after_seconds": _number(rules.rollback_after_seconds)})
    return _map(
        {
            "scope": rules.scope,
            "order": rules.order,
            "on_manual_pause": wait,
            "verify": _flag(rules.verify),
            "drill": _flag(rules.drill),
            "irreversible": rules.irreversible,
            "watch_after_minutes": _number(rules.watch_after_minutes),
            "unverified": rules.unverified,
        }
    )


def _evidence(rules: EvidenceRules) -> str:
    tolerated = {"ratio": _number(rules.ratio), "points": _number(rules.points)}
    return _map(
        {
            "kpis": _list(_word(kpi) for kpi in rules.kpis),
            "action": rules.action,
            "max_false_rollback_risk": _number(rules.max_false_rollback_risk),
            "tolerated_worsening": _map(tolerated),
            "detect": _number(rules.detect),
            "power": _number(rules.power),
        }
    )


def _rule(rule: ApprovalRule) -> str:
    said = {
        "required_roles": _list(_word(role) for role in rule.required_roles),
        "max_pending_minutes": _number(rule.max_pending_minutes),
    }
    if rule.start_within_minutes != START_WITHIN_MINUTES:
        said["start_within_minutes"] = _number(rule.start_within_minutes)
    if rule.gate_roles:
        said["gate_roles"] = _list(_word(role) for role in rule.gate_roles)
    return _map(said)


def _map(said: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{_word(key)}: {value}" for key, value in said.items()) + "}"


def _list(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float) -> str:
    # Never 1e-07: a duration is read without an exponent.
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    return format(Decimal(repr(value)), "f")


def _word(text: str) -> str:
    """Return a name as it stands where YAML takes it for a text, else in quotation marks."""
    return text if _PLAIN.fullmatch(text) and text not in _NULLS else _quoted(text)


def _quoted(text: str) -> str:
    written: str = yaml.safe_dump(text, default_style='"', width=math.inf)
    return written.strip()
