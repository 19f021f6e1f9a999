"""The preview of a plan as the page shows it: batches with their quotes, guardrails in words."""

from dataclasses import dataclass
from typing import Any

from batches.configured import dictionary
from batches.guardrails.verdict import guardrail_key
from batches.kpis.dictionary import GuardrailUnusable, resolve_guardrail
from batches.models import PlaceboRun
from batches.quotes.quote import Quote
from batches.rollout.pacing import allowed_failures, most_failures
from batches.rollout.readiness import PlanPreview
from plans.drafting.waves import Wave
from plans.policies.policy import Guardrail, Limits
from plans.policies.policy_words import judged_words, limit_words, outcome_words
from plans.refusal import BadInput

NAMES_SHOWN = 400


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One batch with the quote that holds once it is upgraded too.

    `may_fail`: its failure budget; `can_fail`: how many can fail at worst before calls stop.
    """

    wave: Wave
    share: float
    names: tuple[str, ...]
    more: int
    quote: Quote
    may_fail: int
    can_fail: int

    @property
    def terms(self) -> dict[str, Any]:
        """Return the quote as the partial of its arithmetic takes it."""
        return self.quote.to_json()


@dataclass(frozen=True, slots=True)
class GuardrailLine:
    """One guardrail, its limit in the Kpi's own unit."""

    kpi: str
    limit: str
    judged: str
    outcome: str
    placebo: str = ""


def batch_lines(preview: PlanPreview) -> list[BatchLine]:
    """Return the batches of a preview without problems."""
    return [
        BatchLine(
            wave=wave,
            share=100 * len(wave.tenants) / max(1, preview.tenants),
            names=wave.tenants[:NAMES_SHOWN],
            more=max(0, len(wave.tenants) - NAMES_SHOWN),
            quote=quote,
            **_failures(preview, len(wave.tenants)),
        )
        for wave, quote in zip(preview.waves, preview.quotes, strict=True)
    ]


def _failures(preview: PlanPreview, size: int) -> dict[str, int]:
    limits = preview.policy.limits if preview.policy is not None else Limits()
    allowed = allowed_failures(size, limits.failure_rate, limits.failures)
    return {
        "may_fail": allowed,
        "can_fail": most_failures(size, preview.parallelism, allowed),
    }


def guardrail_line(
    guardrail: Guardrail, *, scope: str = "plan", placebo: PlaceboRun | None = None
) -> GuardrailLine:
    """Return the guardrail in words, with what the dictionary knows of its Kpi."""
    key = guardrail_key(guardrail)
    unit = kind = ""
    try:
        definition = dictionary().kpi(guardrail.kpi)
        if definition is not None:
            guardrail = resolve_guardrail(guardrail, definition)
            unit, kind = definition.unit, str(definition.kind)
    except (BadInput, GuardrailUnusable):
        # What is wrong with the dictionary stands among the preview's problems.
        unit = kind = ""
    return GuardrailLine(
        kpi=guardrail.kpi,
        limit=limit_words(guardrail, unit=unit, kind=kind),
        judged=judged_words(guardrail),
        outcome=outcome_words(guardrail, scope=scope),
        placebo=placebo_words(placebo, key) if placebo is not None else "",
    )


def placebo_words(placebo: PlaceboRun, key: str) -> str:
    """Return how often one guardrail was broken with nothing released; empty where unknown."""
    for judge in placebo.result["judges"]:
        if judge["key"] == key:
            return (
                f"With nothing released it was broken in {judge['rollouts']} of"
                f" {placebo.rollouts} placebo rollouts."
            )
    return ""
