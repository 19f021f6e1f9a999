"""The alerts that come and go with what the watch sees: each fires once and ends by itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from batches.alerting import alerts
from batches.decisions.decide import WAITS_TOLD, missing_too_long
from batches.decisions.decision_facts import Action, PlanFacts
from batches.looks.observation import BadTenant, Observer
from batches.models import Alert, Batch
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


class WatchAlerts:
    """Fires and resolves what hangs on the facts of a plan, each within the plan's fence."""

    def __init__(self, observer: Observer, fence: Fence) -> None:
        self._observer = observer
        self._fence = fence

    def tell(
        self, plan: Plan, policy: UpgradePolicy, facts: PlanFacts, action: Action, now: datetime
    ) -> None:
        """Let alerts fire and fall silent by what is seen now."""
        if facts.unreadable:
            return
        unjudged = self._observer.unjudged(plan, policy)
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
        kinds = {kind for group in over for kind in group}
        # One question for all kinds: this is asked for every plan at every tick.
        raised = list(
            Alert.objects.filter(
                plan=plan, kind__in=kinds | {WARNING, BAD_TENANT, MISSING}, resolved_at=None
            )
        )
        for group, why in over.items():
            if any(alert.kind in group for alert in raised):
                with self._fence(plan.pk):
                    alerts.resolve_all(plan=plan, now=now, kinds=group, why=why)
        self._tell_missing(plan, facts, raised, now)
        self._warn(plan, facts, _of(raised, WARNING), unjudged, now)
        bad = self._observer.bad_tenants(plan, policy)
        self._name_bad_tenants(plan, bad, _of(raised, BAD_TENANT), unjudged, now)

    def _tell_missing(
        self, plan: Plan, facts: PlanFacts, raised: Sequence[Alert], now: datetime
    ) -> None:
        """Alert of data that is missing for too long, whatever else is done about it."""
        missing = missing_too_long(facts)
        if missing is None or _of(raised, MISSING):
            return
        live = facts.live
        batch = Batch.objects.get(pk=live.pk) if live is not None else None
        with self._fence(plan.pk):
            alerts.fire(plan=plan, kind=MISSING, sentence=missing.sentence, now=now, batch=batch)

    def _warn(
        self,
        plan: Plan,
        facts: PlanFacts,
        raised: Sequence[Alert],
        unjudged: frozenset[str],
        now: datetime,
    ) -> None:
        """Alert of guardrails that are to warn only, as long as they are broken."""
        warnings = {b.key[:120]: b for b in facts.breaches if b.action == "warn"}
        known = {str(alert.payload.get("guardrail")) for alert in raised}
        # A watch that has just begun does not know yet how they stand.
        ended = known - warnings.keys() - {key[:120] for key in unjudged}
        if not (warnings.keys() - known) and not ended:
            return
        with self._fence(plan.pk):
            for key in sorted(warnings.keys() - known):
                breach = warnings[key]
                alerts.fire(
                    plan=plan,
                    kind=WARNING,
                    about=key,
                    sentence=breach.sentence,
                    now=now,
                    payload={"guardrail": key, "kpi": breach.kpi}
                    | ({"tenants": list(breach.tenants)} if breach.tenants else {}),
                )
            for key in sorted(ended):
                alerts.resolve(plan=plan, kind=WARNING, about=key, now=now)

    def _name_bad_tenants(
        self,
        plan: Plan,
        bad: Sequence[BadTenant],
        raised: Sequence[Alert],
        unjudged: frozenset[str],
        now: datetime,
    ) -> None:
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
        if not new and not ended:
            return
        with self._fence(plan.pk):
            for about in new:
                one = standing[about]
                alerts.fire(
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
            for about in ended:
                alerts.resolve(plan=plan, kind=BAD_TENANT, about=about, now=now)


def _of(raised: Sequence[Alert], kind: str) -> list[Alert]:
    return [alert for alert in raised if alert.kind == kind]


def _about(guardrail: str, tenant: str) -> str:
    return f"{tenant}:{guardrail}"[:140]


def _broken(facts: PlanFacts) -> bool:
    return any(breach.action in {"rollback", "pause"} for breach in facts.breaches)
