"""May a plan be submitted with the mappings as they were probed? Pure: probes in, sentences out.

A plan reads the first mapping of a Kpi whose source tells something, and keeps it. So that one has
to fit; a source that does not answer keeps a plan back only where a critical guardrail would be
blind. What is in the past only warns: it may have been put right since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from batches.fit.checks import Fit
from batches.fit.findings import NO_ANSWER, Finding, some
from batches.fit.limits import coverage_finding, limit_findings, window_finding
from batches.kpis.dictionary import (
    Dictionary,
    GuardrailUnusable,
    KpiDefinition,
    KpiMapping,
    resolve_guardrail,
)
from plans.counted_words import counted
from plans.policies.policy import Guardrail, UpgradePolicy


@dataclass(frozen=True, slots=True)
class Probed:
    """The newest probe of a mapping; None where it was never probed as it is written now.

    What is not fresh only warns: it may have been put right since.
    """

    mapping: KpiMapping
    fit: Fit | None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Weighed:
    """What keeps the plan from being submitted, and what its author should know."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Whose:
    """The tenants of the plan, and those of its first batch."""

    tenants: Collection[str]
    first: Collection[str]


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a plan is about to do, in the words of what is said about it."""

    when: str
    blind: str
    again: str


AT_SUBMIT: Final = Occasion("the plan is submitted", "start blind", "submit again when it answers")
AT_START: Final = Occasion("the plan starts", "start blind", "it may start when it answers")
AT_ADJUST: Final = Occasion("the change is made", "be blind", "change it when it answers")


def weigh(
    policy: UpgradePolicy,
    known: Dictionary,
    probed: Mapping[str, Sequence[Probed]],
    *,
    whose: Whose,
    occasion: Occasion = AT_SUBMIT,
) -> Weighed:
    """Return what the probes say about a plan under this policy over these tenants.

    `probed` holds the Kpis that are asked about. Those that the dictionary does not have, or maps
    to nothing, are not told here again.
    """
    errors: dict[str, None] = {}
    warnings: dict[str, None] = {}
    tested = frozenset(map(known.name_of, policy.evidence.kpis if policy.evidence else ()))
    for name in sorted(policy.watched_kpis):
        definition = known.kpi(name)
        if definition is None or not probed.get(definition.name):
            continue
        needs = _Needs(
            definition,
            tuple(rule for rule in policy.guardrails if known.kpi(rule.kpi) == definition),
            definition.name in tested,
        )
        for sentence, stops in _of_kpi(needs, probed[definition.name], whose, occasion):
            (errors if stops else warnings)[sentence] = None
    return Weighed(tuple(errors), tuple(one for one in warnings if one not in errors))


@dataclass(frozen=True, slots=True)
class _Needs:
    """What the policy wants of one Kpi; `tested`: the evidence test compares it."""

    definition: KpiDefinition
    guardrails: tuple[Guardrail, ...]
    tested: bool

    @property
    def critical(self) -> bool:
        return any(rule.critical and not rule.dry_run for rule in self.guardrails)


def _of_kpi(
    needs: _Needs, probed: Sequence[Probed], whose: Whose, occasion: Occasion
) -> Iterator[tuple[str, bool]]:
    """Yield each sentence about one Kpi, and whether it keeps the plan back."""
    before: list[Probed] = []
    for number, one in enumerate(probed):
        if one.fit is None:
            yield f"{_place(one)} was not probed yet; it is when {occasion.when}", False
            return
        if one.fit.tells:
            yield from ((_passed_over(other), False) for other in before)
            yield from _chosen(needs, one, one.fit, whose)
            yield from _spare(probed[number + 1 :])
            return
        before.append(one)
    # Nothing tells it. Whoever answers without a series was written down wrongly, or has stopped.
    answered = [one for one in before if one.fit is not None and one.fit.answered]
    silent = [one for one in before if one not in answered]
    fresh = all(one.fresh for one in probed)
    for one in answered[:1]:
        yield from ((_unreachable(other), False) for other in silent)
        yield from _chosen(needs, one, one.fit or Fit(()), whose)
        yield from _spare(answered[1:])
    for one in silent if not answered else ():
        if needs.critical:
            said = f"{_unreachable(one)}, so a critical guardrail would {occasion.blind}"
            yield f"{said}; {occasion.again}", fresh
        else:
            yield _unreachable(one), False


def _chosen(needs: _Needs, one: Probed, fit: Fit, whose: Whose) -> Iterator[tuple[str, bool]]:
    source, definition = one.mapping.source, needs.definition
    own = [finding for finding in fit.findings if finding.kind != "tenants_without_data"]
    findings = [
        *own,
        *_beside_limits(definition, needs.guardrails, one.mapping, fit),
        *_nobody_to_compare(needs, one.mapping),
    ]
    if fit.level != "error" and not one.mapping.new_version_only:
        gone = sorted(set(fit.without) & set(whose.tenants))
        too_few = [
            coverage_finding(
                without=fit.without,
                tenants=sorted(who),
                kpi=definition.name,
                source=source,
                whose=of,
            )
            for who, of in ((whose.tenants, "the plan"), (whose.first, "its first batch"))
        ]
        findings += [finding for finding in too_few if finding is not None]
        if gone and not any(too_few):
            said = (
                f"{len(gone)} of the plan's {counted(len(whose.tenants), 'tenant')}"
                f" {'has' if len(gone) == 1 else 'have'} no data"
            )
            findings.append(Finding("tenants_without_data", "warning", f"{said}: {some(gone)}"))
    for finding in findings:
        if finding.level in ("error", "warning"):
            old = "" if one.fresh else " (as it was probed some time ago)"
            yield f"{_place(one)}: {finding}{old}", finding.level == "error" and one.fresh


def _beside_limits(
    definition: KpiDefinition, guardrails: Sequence[Guardrail], mapping: KpiMapping, fit: Fit
) -> Iterator[Finding]:
    for guardrail in guardrails:
        try:
            resolved = resolve_guardrail(guardrail, definition)
        except GuardrailUnusable:
            # Told where the policy's names are checked.
            continue
        yield from limit_findings(
            resolved, definition, fit.facts, native_unit=mapping.native_unit or definition.unit
        )
        short = window_finding(resolved, mapping.rate_window_seconds)
        if short is not None:
            yield short


def _nobody_to_compare(needs: _Needs, mapping: KpiMapping) -> Iterator[Finding]:
    """Yield that what only the new version emits cannot be compared with the old one."""
    if not mapping.new_version_only:
        return
    compared = [rule.against for rule in needs.guardrails if rule.against != "absolute"]
    ways = [f"against: {word}" for word in dict.fromkeys(compared)]
    ways += ["evidence"] if needs.tested else []
    if ways:
        yield Finding(
            "nobody_to_compare",
            "error",
            f"only the new version emits it, so {' and '.join(ways)} would compare with nobody",
            "write an absolute limit for it, or mend emitted_by in the dictionary",
        )


def _spare(later: Sequence[Probed]) -> Iterator[tuple[str, bool]]:
    """Yield what is wrong with mappings that are only used where the one before tells nothing."""
    for one in later:
        if one.fit is None or not one.fit.answered:
            continue
        for finding in one.fit.findings:
            if finding.level == "error":
                yield f"{_place(one)}, used where the one before tells nothing: {finding}", False


def _passed_over(one: Probed) -> str:
    """Say why a plan does not take a mapping that stands before the one that it takes."""
    if one.fit is None or not one.fit.answered:
        return _unreachable(one)
    said = next((str(f) for f in one.fit.findings if f.level == "error"), "it tells nothing")
    return f"{_place(one)}: {said}; a plan takes the Kpi's next mapping meanwhile"


def _unreachable(one: Probed) -> str:
    said = [str(f.sentence) for f in (one.fit.findings if one.fit else ()) if f.kind == NO_ANSWER]
    return f"{_place(one)}: {said[0] if said else 'no answer'}"


def _place(one: Probed) -> str:
    return f"{one.mapping.kpi} from {one.mapping.source}"
