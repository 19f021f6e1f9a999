"""May a plan be submitted with the mappings as they were probed? Pure: probes in, sentences out.

A plan reads the first mapping of a Kpi whose source answers, and keeps it. So that one has to fit;
a source that does not answer keeps a plan back only where a critical guardrail would be blind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from batches.dictionary import (
    Dictionary,
    GuardrailUnusable,
    KpiDefinition,
    KpiMapping,
    resolve_guardrail,
)
from batches.fit import Fit
from batches.fit_findings import NO_ANSWER, Finding, some
from batches.fit_limits import coverage_finding, limit_findings, window_finding
from plans.policy import Guardrail, UpgradePolicy


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


def weigh(
    policy: UpgradePolicy,
    known: Dictionary,
    probed: Mapping[str, Sequence[Probed]],
    *,
    whose: Whose,
) -> Weighed:
    """Return what the probes say about a plan under this policy over these tenants.

    Kpis that the dictionary does not have, or maps to nothing, are not told here again.
    """
    errors: dict[str, None] = {}
    warnings: dict[str, None] = {}
    for name in sorted(policy.watched_kpis):
        definition = known.kpi(name)
        if definition is None or not probed.get(definition.name):
            continue
        guardrails = [rule for rule in policy.guardrails if known.kpi(rule.kpi) == definition]
        for sentence, stops in _of_kpi(definition, guardrails, probed[definition.name], whose):
            (errors if stops else warnings)[sentence] = None
    return Weighed(tuple(errors), tuple(one for one in warnings if one not in errors))


def _of_kpi(
    definition: KpiDefinition,
    guardrails: Sequence[Guardrail],
    probed: Sequence[Probed],
    whose: Whose,
) -> Iterator[tuple[str, bool]]:
    """Yield each sentence about one Kpi, and whether it keeps the plan back."""
    silent: list[Probed] = []
    for number, one in enumerate(probed):
        if one.fit is None:
            yield f"{_place(one)} was not probed yet; it is when the plan is submitted", False
            return
        if one.fit.answered:
            yield from ((_unreachable(before), False) for before in silent)
            yield from _chosen(definition, guardrails, one, one.fit, whose)
            yield from _spare(probed[number + 1 :])
            return
        silent.append(one)
    blind = any(rule.critical and not rule.dry_run for rule in guardrails)
    fresh = all(one.fresh for one in probed)
    for one in silent:
        if blind:
            said = f"{_unreachable(one)}, so a critical guardrail would start blind"
            yield f"{said}; submit again when it answers", fresh
        else:
            yield _unreachable(one), False


def _chosen(
    definition: KpiDefinition,
    guardrails: Sequence[Guardrail],
    one: Probed,
    fit: Fit,
    whose: Whose,
) -> Iterator[tuple[str, bool]]:
    source = one.mapping.source
    own = [finding for finding in fit.findings if finding.kind != "tenants_without_data"]
    findings = [*own, *_beside_limits(definition, guardrails, one.mapping, fit)]
    if fit.level != "error":
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
            said = f"{len(gone)} of the plan's {len(whose.tenants)} tenants have no data"
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


def _spare(later: Sequence[Probed]) -> Iterator[tuple[str, bool]]:
    """Yield what is wrong with mappings that are only used where the one before does not answer."""
    for one in later:
        if one.fit is None or not one.fit.answered:
            continue
        for finding in one.fit.findings:
            if finding.level == "error":
                yield f"{_place(one)}, used where the one before does not answer: {finding}", False


def _unreachable(one: Probed) -> str:
    said = [str(f.sentence) for f in (one.fit.findings if one.fit else ()) if f.kind == NO_ANSWER]
    return f"{_place(one)}: {said[0] if said else 'no answer'}"


def _place(one: Probed) -> str:
    return f"{one.mapping.kpi} from {one.mapping.source}"
