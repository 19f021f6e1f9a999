"""Schedules of drills: made by a release manager, agreed to once by its approvers, run by watch.

The approvers say yes to the schedule; at each run their standing yes is given for the run's plan,
where everything is checked again: that they still hold the role, and that they are no author.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from zoneinfo import available_timezones

from django.db import transaction

from batches.alerting import alerts
from batches.configured import deployer_spec
from batches.drills.rehearsing import Wanted, approval_rule, begin_rehearsal, check
from batches.drills.times import DAYS, next_run
from batches.models import DrillApproval, DrillSchedule, RollbackDrill
from plans.approvals import approval, grants
from plans.drafting.drafting import TenantChoice, chosen_tenants
from plans.log_in.step_up import Proof, StepUp
from plans.models import Release, Tenant, User
from plans.people.permissions import approval_roles, require, require_over
from plans.refusal import BadInput, NotAllowed, Refused
from plans.trail import events

logger = logging.getLogger(__name__)
NOT_RUN = "drill_not_run"


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What a release manager hands in."""

    name: str
    deployer: str
    plugin: str
    to_version: str
    tenants: TenantChoice
    injects: tuple[str, ...]
    days: tuple[str, ...]
    at: time
    timezone: str


def make_schedule(*, given: NewSchedule, by: User, now: datetime, via: str) -> DrillSchedule:
    """Keep a schedule; it runs only once its approvers have agreed. BadInput with all problems."""
    require(by, "draft")
    if not given.tenants.keys:
        require_over(by, "draft", [given.tenants.labels])
    release = Release.objects.filter(plugin__key=given.plugin, version=given.to_version).first()
    problems = _problems(given, release, by)
    if problems or release is None:
        raise BadInput(problems)
    rule = approval_rule()
    with transaction.atomic():
        schedule = DrillSchedule.objects.create(
            name=given.name,
            release=release,
            deployer=given.deployer,
            tenant_choice=given.tenants.to_json(),
            injects=list(given.injects),
            days=[day for day in DAYS if day in given.days],
            at=given.at,
            timezone=given.timezone,
            roles=list(rule.required_roles),
            by=by,
            created_at=now,
            next_at=next_run(given.days, given.at, given.timezone, after=now),
        )
        _tell(
            schedule,
            "drill_schedule_made",
            f"{by.get_full_name()} made the drill schedule {schedule.name}; it waits for"
            f" {', '.join(schedule.roles)}.",
            by,
            now,
            via,
        )
    return schedule


def _problems(given: NewSchedule, release: Release | None, by: User) -> list[str]:
    problems: list[str] = []
    if DrillSchedule.objects.filter(name=given.name).exists():
        problems.append(f"name: there is a schedule {given.name!r} already; take another name")
    if release is None:
        problems.append(
            f"release: {given.plugin} {given.to_version} is not registered; register it first"
        )
    if not given.injects:
        problems.append("injects: choose at least one")
    if not given.days or set(given.days) - set(DAYS):
        problems.append(f"days: write some of {', '.join(DAYS)}")
    if given.timezone not in available_timezones():
        problems.append(f"timezone: {given.timezone!r} is no IANA zone, such as Europe/Berlin")
    problems += chosen_tenants(given.tenants, by=by)[1]
    for inject in given.injects:
        try:
            check(Wanted(given.deployer, given.plugin, given.to_version, given.tenants, inject))
        except BadInput as refused:
            problems += refused.problems
    try:
        deployer_spec(given.deployer)
    except BadInput as refused:
        problems += refused.problems
    return list(dict.fromkeys(problems))


def _labels_of(choice: TenantChoice) -> list[Mapping[str, str]]:
    """Return the labels of the tenants that each run will take, or the rule that chooses them."""
    if not choice.keys:
        return [choice.labels]
    return list(Tenant.objects.filter(key__in=choice.keys).values_list("labels", flat=True))


def _require_over(by: User, action: str, schedule: DrillSchedule) -> None:
    require_over(by, action, _labels_of(TenantChoice.from_json(schedule.tenant_choice)))


def roles_over_schedule(user: User, schedule: DrillSchedule, *, at: datetime) -> set[str]:
    """Return the approval roles that the person may stand for on all of the schedule's tenants."""
    labels = _labels_of(TenantChoice.from_json(schedule.tenant_choice))
    return approval_roles(user, at=at, tenants=labels)


def missing_roles(schedule: DrillSchedule) -> list[str]:
    """Return the roles that nobody has said yes for."""
    given = set(schedule.approvals.values_list("role", flat=True))
    return [role for role in schedule.roles if role not in given]


@transaction.atomic
def approve_schedule(
    *,
    schedule_id: Any,
    by: User,
    comment: str,
    now: datetime,
    via: str,
    step_up: Proof | None = None,
) -> DrillSchedule:
    """Give one person's standing yes for one role; never by who made the schedule.

    Each run's approval is a grant of its own, which says that it was given in advance, and when.
    """
    schedule = DrillSchedule.objects.select_for_update(no_key=True).get(pk=schedule_id)
    if schedule.by_id == by.pk:
        raise NotAllowed("You made this schedule; somebody else has to agree to it.")
    if schedule.approvals.filter(user=by).exists():
        raise Refused("You have agreed to this schedule already.", code="already_decided")
    held = roles_over_schedule(by, schedule, at=now)
    missing = missing_roles(schedule)
    roles = [role for role in missing if role in held]
    if not roles:
        waits = f"waits for {', '.join(missing)}" if missing else "waits for nobody"
        raise NotAllowed(f"This schedule {waits}; you do not hold such a role.")
    grants.stepped_up(step_up, now=now)
    DrillApproval.objects.create(schedule=schedule, user=by, role=roles[0], comment=comment, at=now)
    left = missing_roles(schedule)
    _tell(
        schedule,
        "drill_schedule_approved" if not left else "drill_schedule_agreed",
        f"{by.get_full_name()} agreed to every run of the drill schedule {schedule.name} as"
        f" {roles[0]}" + (f"; {', '.join(left)} still to decide." if left else "."),
        by,
        now,
        via,
    )
    return schedule


@transaction.atomic
def switch(*, schedule_id: Any, on: bool, by: User, now: datetime, via: str) -> DrillSchedule:
    """Let a schedule run, or let it rest; switching it to what it is changes nothing."""
    require(by, "draft")
    schedule = DrillSchedule.objects.select_for_update(no_key=True).get(pk=schedule_id)
    _require_over(by, "draft", schedule)
    if schedule.enabled == on:
        return schedule
    schedule.enabled = on
    schedule.problem = ""
    schedule.next_at = next_run(schedule.days, schedule.at, schedule.timezone, after=now)
    schedule.save()
    alerts.resolve(plan=None, kind=NOT_RUN, about=schedule.name, now=now)
    word = "on" if on else "off"
    sentence = f"{by.get_full_name()} switched the drill schedule {schedule.name} {word}."
    _tell(schedule, f"drill_schedule_{word}", sentence, by, now, via)
    return schedule


def run_now(*, schedule_id: Any, by: User, now: datetime, via: str) -> RollbackDrill:
    """Run an approved schedule once beside its days; raises Refused when it cannot run."""
    require(by, "start")
    with transaction.atomic():
        schedule = DrillSchedule.objects.select_for_update(no_key=True).get(pk=schedule_id)
        _require_over(by, "start", schedule)
        return _run(schedule, now, via=via)


def run_due(now: datetime) -> None:
    """Run every schedule whose time has come; one that cannot run says why, with an alert."""
    due = DrillSchedule.objects.filter(enabled=True, next_at__lte=now).values_list("pk", flat=True)
    for schedule_id in list(due):
        try:
            _run_one(schedule_id, now)
        except Exception:
            logger.exception("The drill schedule %s could not be run.", schedule_id)


def _run_one(schedule_id: Any, now: datetime) -> None:
    with transaction.atomic():
        schedule = DrillSchedule.objects.select_for_update(no_key=True).get(pk=schedule_id)
        if schedule.next_at > now or not schedule.enabled:
            return
        schedule.next_at = next_run(schedule.days, schedule.at, schedule.timezone, after=now)
        try:
            with transaction.atomic():
                _run(schedule, now, via="watch")
            schedule.problem = ""
        except Refused as refused:
            problems = refused.problems if isinstance(refused, BadInput) else (refused.sentence,)
            schedule.problem = "; ".join(problems)[:400]
        schedule.save()
        if schedule.problem:
            alerts.fire(
                plan=None,
                kind=NOT_RUN,
                about=schedule.name,
                sentence=f"the drill schedule {schedule.name} did not run:"
                f" {schedule.problem.rstrip('.')}",
                now=now,
            )
        else:
            alerts.resolve(plan=None, kind=NOT_RUN, about=schedule.name, now=now)


def _run(schedule: DrillSchedule, now: datetime, *, via: str) -> RollbackDrill:
    """Begin the next rehearsal of a schedule under the standing yes of its approvers."""
    if missing := missing_roles(schedule):
        raise Refused(f"It waits for {', '.join(missing)} to agree.", code="not_approved")
    if RollbackDrill.objects.filter(schedule=schedule, ended_at=None).exists():
        raise Refused("Its drill before has not ended yet.", code="still_running")
    turn = RollbackDrill.objects.filter(schedule=schedule).count()
    drill = begin_rehearsal(
        wanted=Wanted(
            schedule.deployer,
            schedule.release.plugin.key,
            schedule.release.version,
            TenantChoice.from_json(schedule.tenant_choice),
            schedule.injects[turn % len(schedule.injects)],
        ),
        by=schedule.by,
        now=now,
        via=via,
        schedule=schedule,
    )
    for agreed in schedule.approvals.select_related("user"):
        approval.approve(
            plan_id=drill.plan_id,
            approver=agreed.user,
            role=agreed.role,
            now=now,
            via="standing",
            step_up=StepUp((grants.STANDING,), agreed.at),
            comment=f"standing approval of the drill schedule {schedule.name}, given"
            f" {agreed.at:%Y-%m-%d %H:%M} UTC",
        )
    return drill


def schedules(user: User) -> Sequence[DrillSchedule]:
    """Return the schedules that the person may see, with what is shown of them."""
    seen = DrillSchedule.objects.visible_to(user).select_related("release__plugin", "by")
    return list(seen.prefetch_related("approvals__user"))


def may_agree(user: User, schedule: DrillSchedule, *, at: datetime) -> bool:
    """Tell whether the person's yes is one that the schedule still waits for."""
    if schedule.by_id == user.pk or any(yes.user_id == user.pk for yes in schedule.approvals.all()):
        return False
    missing = missing_roles(schedule)
    return bool(missing and roles_over_schedule(user, schedule, at=at).intersection(missing))


def waiting_for(user: User, *, now: datetime) -> list[DrillSchedule]:
    """Return the schedules that wait for the person's yes."""
    return [one for one in schedules(user) if one.enabled and may_agree(user, one, at=now)]


def _tell(
    schedule: DrillSchedule, kind: str, sentence: str, by: User, now: datetime, via: str
) -> None:
    events.record(
        stream=None,
        kind=kind,
        sentence=sentence,
        actor=by,
        via=via,
        now=now,
        payload={
            "schedule": str(schedule.pk),
            "release": str(schedule.release),
            "deployer": schedule.deployer,
            "tenants": schedule.tenant_choice,
            "injects": schedule.injects,
            "days": schedule.days,
            "at": f"{schedule.at:%H:%M}",
            "timezone": schedule.timezone,
        },
    )
