"""Say afterwards, as somebody else, whether it was right to act without the approvers."""

from datetime import datetime
from typing import Any

from django.db import transaction

from batches.alerting import alerts
from batches.break_glass.acting_alone import BROKEN, DONE, OVERDUE
from plans.approvals.break_glass_reviewers import require_reviewer
from plans.models import BreakGlass, Plan, User
from plans.refusal import BadInput, NotFound, Refused
from plans.trail import events


@transaction.atomic
def review(
    *, break_glass_id: Any, by: User, verdict: str, comment: str, now: datetime, via: str
) -> BreakGlass:
    """Say afterwards whether it was right to pass the approvers over; once, by somebody else."""
    found = BreakGlass.objects.filter(pk=break_glass_id).select_related("plan", "by").first()
    if found is None:
        raise NotFound("There is no such act.")
    plan = Plan.objects.locked(found.plan_id)
    broken = BreakGlass.objects.select_for_update(no_key=True).get(pk=found.pk)
    require_reviewer(by, broken, now)
    if broken.reviewed_at is not None:
        who = broken.reviewed_by.get_full_name() if broken.reviewed_by else "Somebody"
        raise Refused(
            f"{who} has reviewed this at {broken.reviewed_at:%Y-%m-%d %H:%M} UTC already.",
            code="already_reviewed",
        )
    words = dict(BreakGlass.VERDICTS)
    problems = [] if verdict in words else [f"verdict: write one of {', '.join(words)}"]
    if not comment.strip():
        problems.append("comment: say what you found; the report shows it")
    if problems:
        raise BadInput(problems)
    broken.reviewed_by, broken.reviewed_at = by, now
    broken.verdict, broken.review = verdict, comment.strip()
    broken.save()
    late = " late" if broken.review_due < now else ""
    sentence = (
        f"{by.get_full_name()} reviewed{late} what {broken.by.get_full_name()} did without the"
        f" approvers ({DONE[broken.act]} of {plan.external_id}):"
        f" {words[verdict].lower()}. {broken.review}"
    )
    for kind in (BROKEN, OVERDUE):
        alerts.resolve(plan=plan, kind=kind, about=str(broken.pk), now=now)
    for stream in (plan, None):
        events.record(
            stream=stream,
            kind="glass_reviewed",
            sentence=sentence,
            actor=by,
            via=via,
            now=now,
            payload={
                "break_glass": str(broken.pk),
                "plan": str(plan.pk),
                "verdict": verdict,
                "comment": broken.review,
                "late": bool(late),
            },
        )
    return broken


def tell_overdue(now: datetime) -> None:
    """Alert of every review that should have been."""
    for broken in BreakGlass.objects.overdue(now).select_related("plan", "by"):
        alerts.fire(
            plan=broken.plan,
            kind=OVERDUE,
            about=str(broken.pk),
            sentence=f"nobody has reviewed what {broken.by.get_full_name()} did without the"
            f" approvers ({DONE[broken.act]} of {broken.plan.external_id}); it was due at"
            f" {broken.review_due:%Y-%m-%d %H:%M} UTC",
            now=now,
            payload={"break_glass": str(broken.pk), "act": broken.act},
        )
