"""What the evidence test of a changed policy would do with a running plan: writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings

from batches.adjust.batches import SOAK_RUNS, Recut, rows_of, standing_of
from batches.configured import dictionary
from batches.evidence.calibration import Usual
from batches.evidence.plan_evidence import PlanEvidence, with_look
from batches.evidence.rules import EvidenceTest, evidence_test
from batches.evidence.ruling import EvidenceRuling, Surroundings, reached_sentence, recent, rule
from batches.evidence.soak_outlook import soak_outlook
from batches.evidence.tenant_history import usual_so_far
from batches.looks.taking_looks import tenants_now
from batches.models import Batch, KpiSample, Rollback, TenantUpgrade
from batches.sources.increments import LookSample
from plans.drafting.waves import Wave
from plans.models import Plan, PlanTenant
from plans.policies.policy import UpgradePolicy
from plans.policies.policy_words import evidence_words

MOST_POINTS: Final = 200_000
"""So many tenants' points are judged again while somebody waits for a preview."""
SENTENCE_SECONDS: Final = 60.0
"""What the sentence of evidence that has reached 100 % adds up, as the watch does by default."""


VERDICT_WORDS: Final = {
    "fine": "Fine",
    "breached": "Breached",
    "no_data": "No data",
    "undecided": "Not yet",
}


@dataclass(frozen=True, slots=True)
class EvidencePreview:
    """The test in words, what its soaks can find, and what it would say of the looks so far.

    `verdict` is empty where nobody has looked yet. `at_once`: what would follow at the next look.
    """

    words: tuple[str, ...]
    percent: float = 0.0
    verdict: str = ""
    sentence: str = ""
    looks: int = 0
    left_out: int = 0
    at_once: str = ""
    begins_anew: bool = False
    soaks: tuple[dict[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """Return the verdict as a badge says it."""
        return VERDICT_WORDS.get(self.verdict, "")


def preview_evidence(
    plan: Plan, old: UpgradePolicy, new: UpgradePolicy, recut: Recut | None, *, now: datetime
) -> EvidencePreview | None:
    """Return what the evidence test of the new policy would do; None where it has none."""
    if new.evidence is None:
        return None
    words = evidence_words(new)
    scaled = new.at_scale(settings.SOAK_SCALE)
    soaks = _soaks(plan, scaled, recut)
    test = evidence_test(scaled, dictionary())
    if test is None:
        return None
    looks, left_out = _looks(plan, test)
    if not looks:
        return EvidencePreview(words, soaks=soaks)
    ruling = _judged(plan, test, looks, now)
    return EvidencePreview(
        words=words,
        percent=ruling.percent,
        verdict=ruling.verdict,
        sentence=ruling.sentence,
        looks=len(looks),
        left_out=left_out,
        at_once=ruling.action if ruling.verdict == "breached" else "",
        begins_anew=_is_looser(old, new),
        soaks=soaks,
    )


def _is_looser(old: UpgradePolicy, new: UpgradePolicy) -> bool:
    """Tell whether more is tolerated than before: then the test begins anew once it is in force."""
    was, reads = old.evidence, new.evidence
    return (
        was is not None
        and reads is not None
        and (reads.ratio > was.ratio or reads.points > was.points)
    )


def _judged(
    plan: Plan, test: EvidenceTest, looks: Sequence[LookSample], now: datetime
) -> EvidenceRuling:
    known = {
        kpi: usual_so_far(plan, kpi, bound=tested.slow_above, now=now)
        for kpi, tested in test.kpis.items()
    }
    live = (
        Batch.objects.filter(plan=plan, state__in=("deploying", "soaking", "held"))
        .order_by("-number")
        .first()
    )
    soak_started = live.calls_done_at if live is not None else None
    state = PlanEvidence()
    for look in looks:
        state = with_look(
            state,
            test,
            look,
            known[look.kpi][0] if look.kpi in known else Usual(),
            soak_started=soak_started if soak_started and soak_started <= look.at else None,
            batch=live.number if live is not None else 0,
        )
    tenants = tenants_now(plan, now)
    around = Surroundings(
        canary=len(tenants.upgraded),
        control=len(tenants.control),
        usual={kpi: usual for kpi, (usual, _short) in known.items() if usual.estimated},
        short={kpi: short for kpi, (_usual, short) in known.items() if short},
    )
    ruling = rule(state, test, around)
    if ruling.word != "rollback":
        return ruling
    newest = [one for one in looks if one.kpi == state.blame]
    since = newest[-1].at - timedelta(seconds=SENTENCE_SECONDS)
    seen = recent([one for one in newest if one.at >= since], test.kpis[state.blame])
    return replace(ruling, sentence=reached_sentence(state, test, around, seen))


def _looks(plan: Plan, test: EvidenceTest) -> tuple[list[LookSample], int]:
    """Return the looks at the tested Kpis in their order, the newest where they are very many.

    What was seen before the plan's last rollback says nothing about the tenants that are left.
    """
    last = Rollback.objects.filter(plan=plan).order_by("-triggered_at").first()
    since = (last.finished_at or last.triggered_at) if last is not None else plan.created_at
    rows = KpiSample.objects.filter(plan=plan, kpi__in=test.kpis, at__gte=since)
    tenants = PlanTenant.objects.filter(plan=plan, excluded=False).count()
    most = max(10, MOST_POINTS // max(1, tenants))
    there = rows.count()
    newest = list(rows.order_by("-at", "-pk").values_list("look", flat=True)[:most])
    return [LookSample.from_json(look) for look in reversed(newest)], max(0, there - most)


def _soaks(plan: Plan, policy: UpgradePolicy, recut: Recut | None) -> tuple[dict[str, Any], ...]:
    """Return what the soaks that are not over find of the tested Kpis."""
    over = Batch.objects.filter(plan=plan).exclude(state__in=("pending", *SOAK_RUNS))
    past = frozenset(over.values_list("name", flat=True))
    names = frozenset(
        map(dictionary().name_of, policy.evidence.kpis if policy.evidence is not None else ())
    )
    told = []
    for one in soak_outlook(policy, _waves(plan, policy, recut), plugin=plan.plugin.key):
        if one.kpi in names:
            body = one.to_json()
            body["batches"] = [line for line in body["batches"] if line["batch"] not in past]
            told.append(body)
    return tuple(told)


def _waves(plan: Plan, policy: UpgradePolicy, recut: Recut | None) -> list[Wave]:
    """Return the plan's batches as they would be: those that stand, and those shared out anew."""
    specs = {batch.name: batch for batch in policy.batches}
    anew = {row.name for row in rows_of(plan)[standing_of(plan).begun :]} if recut else set()
    placed: dict[tuple[bool, int, str], list[str]] = {}
    rows = TenantUpgrade.objects.filter(plan=plan).exclude(state="excluded")
    cells = rows.order_by("batch__number", "position").values_list(
        "batch__hold_back", "batch__number", "batch__name", "tenant_key"
    )
    for hold_back, number, name, key in cells:
        if name not in anew:
            placed.setdefault((hold_back, number, name), []).append(key)

    def wave(number: int, name: str, keys: Sequence[str]) -> Wave:
        spec = specs.get(name, policy.batches[-1])
        return Wave(number, name, tuple(keys), spec.soak_seconds, (), spec.advance)

    lines = sorted(placed.items())
    first = [wave(number, name, keys) for (back, number, name), keys in lines if not back]
    last = [wave(number, name, keys) for (back, number, name), keys in lines if back]
    return [*first, *(recut.waves if recut is not None else ()), *last]
