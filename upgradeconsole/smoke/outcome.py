"""What came of a rehearsal, as the last line of its output says it."""

from pathlib import Path
from typing import Any

from django.db.models import Max, Min

from batches.models import Batch, DeployerCall, Rollback, TenantUpgrade
from plans.chain import timestamp
from plans.counted_words import counted
from plans.models import Plan, PlanTenant
from reports.handing_out import file_path
from reports.models import UpgradeReport

COMPLETED, TAKEN_BACK, NEEDS_HAND, TIMED_OUT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 3, 5, 130


def outcome_of(plan_id: Any, *, timed_out: bool) -> dict[str, Any]:
    """Return the result of a plan as it stands now."""
    plan = Plan.objects.get(pk=plan_id)
    counts = TenantUpgrade.objects.filter(plan=plan).counts()
    places = PlanTenant.objects.filter(plan=plan)
    left_out = places.filter(excluded=True).count()
    report = issued_report(plan_id)
    return {
        "plan": str(plan.pk),
        "state": str(plan.state),
        "exit": _exit_code(str(plan.state), timed_out=timed_out),
        "tenants": places.count(),
        "on_target": counts.get("upgraded", 0),
        "rolled_back": counts.get("rolled_back", 0),
        "needs_hand": counts.get("needs_hand", 0),
        "excluded": counts.get("excluded", 0) + left_out,
        "started_at": _time(plan.started_at),
        "ended_at": _time(plan.ended_at),
        "batches": [_batch(batch) for batch in Batch.objects.filter(plan=plan).order_by("number")],
        "rollback": _rollback(plan),
        "report": str(report) if report is not None else None,
    }


def issued_report(plan_id: Any) -> Path | None:
    """Return where the plan's newest report is, None where there is none."""
    report = UpgradeReport.objects.filter(plan_id=plan_id, issued_at__isnull=False).first()
    return file_path(report) if report is not None else None


def in_words(outcome: dict[str, Any]) -> str:
    """Return the result for people."""
    words = (
        f"{outcome['state'].replace('_', ' ')}: of {counted(outcome['tenants'], 'tenant')}"
        f" {counted(outcome['on_target'], 'is', 'are')} on the new version,"
        f" {counted(outcome['rolled_back'], 'was', 'were')} taken back,"
        f" {counted(outcome['needs_hand'], 'needs', 'need')} a hand,"
        f" {counted(outcome['excluded'], 'was', 'were')} left out"
    )
    rollback = outcome["rollback"]
    if rollback is not None and rollback["seconds"] is not None:
        words += f"; taken back in {rollback['seconds']:.1f} s"
    return f"{words}. Report: {outcome['report'] or 'none'}"


def _exit_code(state: str, *, timed_out: bool) -> int:
    if timed_out:
        return TIMED_OUT
    return {"completed": COMPLETED, "needs_hand": NEEDS_HAND}.get(state, TAKEN_BACK)


def _batch(batch: Batch) -> dict[str, Any]:
    calls = DeployerCall.objects.filter(upgrade__batch=batch, direction=DeployerCall.INSTALL)
    when = calls.aggregate(first=Min("started_at"), last=Max("ended_at"))
    executors = set(calls.order_by().values_list("executor", flat=True).distinct())
    return {
        "name": batch.name,
        "tenants": batch.size,
        # Where every tenant had the version already, the batch was called and no call was made.
        "called_at": _time(when["first"] or batch.calling_since),
        "calls_done_at": _time(batch.calls_done_at or when["last"]),
        # A batch that the watch took over in the middle counts as the watch's.
        "executor": "watch" if "watch" in executors else next(iter(executors), None),
    }


def _rollback(plan: Plan) -> dict[str, Any] | None:
    rollback = Rollback.objects.filter(plan=plan).order_by("-triggered_at").first()
    if rollback is None:
        return None
    return {
        "trigger": rollback.trigger,
        "sentence": rollback.sentence or rollback.reason,
        "triggered_at": _time(rollback.triggered_at),
        "first_call_at": _time(rollback.first_call_at),
        "verified_at": _time(rollback.verified_at),
        "seconds": rollback.seconds(),
        "quote_seconds": rollback.quote_seconds,
    }


def _time(at: Any) -> str | None:
    return timestamp(at) if at is not None else None
