"""The alerts that come and go with what the watch sees: each fires once and ends by itself."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from batches.alerting import alerts
from batches.decisions.decide import WAITS_TOLD, missing_too_long
from batches.decisions.decision_facts import Action, PlanFacts
from batches.decisions.plan_rows import PlanRows
from batches.looks.observation import BadTenant, Observer
from batches.models import Alert
from batches.runtime.watch_duties import Fence
from batches.watch.starting import UNDECIDED
from plans.models import Plan
from plans.policies.policy import UpgradePolicy

WARNING: Final = "guardrail_warning"
BAD_TENANT: Final = "bad_tenant"
BREACH: Final = "breach"
MISSING: Final = "missing_metrics"
BAD_TENANTS_TOLD: Final = 10
"""Of how many tenants a plan tells by name at the same time; the worst come first."""


Tell = Callable[[], object]
"""What lets one alert fire or fall silent; doing it twice is nothing new."""


class WatchAlerts:
    """Fires and resolves what hangs on the facts of a plan, within the plan's fence."""

    def __init__(self, observer: Observer, fence: Fence) -> None:
        self._observer = observer
        self._fence = fence

    def tell(self, plan: Plan, news: Sequence[Tell]) -> None:
        """Write down what is new, all of it or nothing."""
        if not news:
            return
        with self._fence(plan.pk):
            for tell in news:
                tell()

    def news(
        self,
        plan: Plan,
        policy: UpgradePolicy,
        rows: PlanRows,
        facts: PlanFacts,
        action: Action,
    ) -> list[Tell]:
        """Return what has to be told by what is seen now, nothing while all of it is told."""
        if facts.unreadable:
            return []
        now, raised = facts.now, rows.raised
        unjudged = self._observer.unjudged(plan, policy)
        bad = self._observer.bad_tenants(plan, policy)
        return [
            *_over(plan, facts, action, raised, unjudged),
            *_missing(plan, facts, rows),
            *_warnings(plan, facts, _of(raised, WARNING), unjudged),
            *_bad_tenants(plan, bad, _of(raised, BAD_TENANT), unjudged, now),
        ]


def _over(
    plan: Plan,
    facts: PlanFacts,
    action: Action,
    raised: Sequence[Alert],
    unjudged: frozenset[str],
) -> list[Tell]:
    """Let fall silent what is over."""
    over = {
        ("configuration", UNDECIDED): "it is mended",
        tuple(kind for kind in WAITS_TOLD if kind != action.kind): (
            "the plan does not wait for it now"
        ),
    }
    if not facts.missing:
        over[(MISSING,)] = "the data is back"
    if not unjudged and not _broken(facts) and facts.state != "rolling_back":
        over[(BREACH,)] = "the guardrails are not broken any more"
    return [
        partial(alerts.resolve_all, plan=plan, now=facts.now, kinds=group, why=why)
        for group, why in over.items()
        if any(alert.kind in group for alert in raised)
    ]


def _missing(plan: Plan, facts: PlanFacts, rows: PlanRows) -> list[Tell]:
    """Alert of data that is missing for too long, whatever else is done about it."""
    missing = missing_too_long(facts)
    if missing is None or _of(rows.raised, MISSING):
        return []
    fire = partial(alerts.fire, plan=plan, kind=MISSING, batch=rows.live)
    return [partial(fire, sentence=missing.sentence, now=facts.now)]


def _warnings(
    plan: Plan, facts: PlanFacts, raised: Sequence[Alert], unjudged: frozenset[str]
) -> list[Tell]:
    """Alert of guardrails that are to warn only, as long as they are broken."""
    warnings = {b.key[:120]: b for b in facts.breaches if b.action == "warn"}
    known = {str(alert.payload.get("guardrail")) for alert in raised}
    # A watch that has just begun does not know yet how they stand.
    ended = known - warnings.keys() - {key[:120] for key in unjudged}
    told: list[Tell] = [
        partial(
            alerts.fire,
            plan=plan,
            kind=WARNING,
            about=key,
            sentence=warnings[key].sentence,
            now=facts.now,
            payload={"guardrail": key, "kpi": warnings[key].kpi}
            | ({"tenants": list(warnings[key].tenants)} if warnings[key].tenants else {}),
        )
        for key in sorted(warnings.keys() - known)
    ]
    return told + [_silence(plan, WARNING, key, facts.now) for key in sorted(ended)]


def _bad_tenants(
    plan: Plan,
    bad: Sequence[BadTenant],
    raised: Sequence[Alert],
    unjudged: frozenset[str],
    now: datetime,
) -> list[Tell]:
    """Alert of tenants that are far over a limit which all together keep."""
    standing = {_about(one.guardrail, one.tenant): one for one in bad}
    known = {
        _about(str(alert.payload["guardrail"]), str(alert.payload["tenants"][0])): alert
        for alert in raised
    }
    ended = [
        about
        for about, alert in known.items()
        if about not in standing and alert.payload["guardrail"] not in unjudged
    ]
    room = BAD_TENANTS_TOLD - (len(known) - len(ended))
    # Whoever gives too little now is neither new nor over.
    measured = [about for about, one in standing.items() if one.value is not None]
    new = [about for about in measured if about not in known][: max(0, room)]
    return [_name(plan, standing[about], about, now) for about in new] + [
        _silence(plan, BAD_TENANT, about, now) for about in ended
    ]


def _name(plan: Plan, one: BadTenant, about: str, now: datetime) -> Tell:
    return partial(
        alerts.fire,
        plan=plan,
        kind=BAD_TENANT,
        about=about,
        sentence=one.sentence,
        now=now,
        payload={
            "guardrail": one.guardrail,
            "kpi": one.kpi,
            "tenants": [one.tenant],
            "value": one.value,
            "threshold": one.threshold,
            "unit": one.unit,
        },
    )


def _silence(plan: Plan, kind: str, about: str, now: datetime) -> Tell:
    return partial(alerts.resolve, plan=plan, kind=kind, about=about, now=now)


def _of(raised: Sequence[Alert], kind: str) -> list[Alert]:
    return [alert for alert in raised if alert.kind == kind]


def _about(guardrail: str, tenant: str) -> str:
    return f"{tenant}:{guardrail}"[:140]


def _broken(facts: PlanFacts) -> bool:
    return any(breach.action in {"rollback", "pause"} for breach in facts.breaches)
