"""Set the stage: a database that is the rehearsal's own, its people, its release, its plan."""

import hashlib
import io
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from batches.configured import outbound_rules
from batches.rollout import planning
from plans.approvals.approval import approve
from plans.approvals.grants import REHEARSED
from plans.counted_words import counted
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.lifecycle import LIVE_PLAN_STATES
from plans.log_in.step_up import StepUp
from plans.models import Plan, RoleBinding, User
from plans.policies.keeping import save_policy_text
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput
from plans.releases.registering import register_release, trust_key
from plans.releases.signature import new_key, sign_release
from plans.tenants.importing import import_tenants
from plans.trail import events
from upgradeconsole.smoke import way_out
from upgradeconsole.smoke.inputs import Rehearsal

VIA = "command"
# By these a later rehearsal knows what an earlier one made; nobody else may use .invalid names.
MAIL_DOMAIN = "@rehearsal.invalid"
PLAN_PREFIX = "rehearsal-"


@dataclass(frozen=True, slots=True)
class Stage:
    """The plan, handed in, and the people who will move it."""

    plan: Plan
    author: User
    approvers: tuple[tuple[User, str], ...]
    gatekeeper: User
    """Who lets batches begin at manual gates: the author, unless the policy names roles."""


def require_own_database() -> None:
    """Make the database empty and ready; raise BadInput when it holds anybody else's work."""
    if User._meta.db_table in connection.introspection.table_names():
        problems = _work_of_others()
        if problems:
            raise BadInput(problems, code="not_its_own")
        if User.objects.exists() or Plan.objects.exists():
            _forget_earlier_rehearsal()
    call_command("prepare", no_demo=True, stdout=io.StringIO())


def _work_of_others() -> list[str]:
    people = User.objects.exclude(email__endswith=MAIL_DOMAIN).count()
    plans = Plan.objects.exclude(external_id__startswith=PLAN_PREFIX).count()
    name = connection.settings_dict["NAME"]
    problems = []
    if people or plans:
        problems.append(
            f"The database {name} holds {counted(people, 'person', 'people')} and"
            f" {counted(plans, 'plan')} that no rehearsal made;"
            " give an empty folder with --keep DIR, or leave UPGRADECONSOLE_DATA unset."
        )
    unfinished = Plan.objects.filter(
        external_id__startswith=PLAN_PREFIX, state__in=LIVE_PLAN_STATES
    ).first()
    if unfinished is not None:
        problems.append(
            f"The database {name} holds the rehearsal {unfinished.external_id}, which is"
            f" {unfinished.state}: its tenants are not accounted for. Let it end with"
            " './console up --no-demo --data DIR', or use another folder."
        )
    return problems


def _forget_earlier_rehearsal() -> None:
    """Begin anew: a trail cannot be emptied, so the file goes."""
    if connection.vendor != "sqlite":
        raise BadInput(["The database holds an earlier rehearsal; give an empty one."])
    file = Path(connection.settings_dict["NAME"])
    connection.close()
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)


def set_stage(rehearsal: Rehearsal, *, now: datetime) -> Stage:
    """Make people, tenants, release and plan, and hand the plan in; all or nothing."""
    with transaction.atomic():
        author = _person("author", "Rehearsal author", RoleBinding.CONSOLE, "release_manager")
        approvers = tuple(
            (
                _person(f"approver-{number}", f"Rehearsal {role}", RoleBinding.APPROVAL, role),
                role,
            )
            for number, role in enumerate(rehearsal.approval_roles, start=1)
        )
        save_policy_text(
            text=rehearsal.policy_text,
            source=rehearsal.policies_file.name,
            by=None,
            now=now,
            via=VIA,
        )
        import_tenants(
            text=rehearsal.tenants_text,
            form=rehearsal.tenants_form,
            by=author,
            now=now,
            via=VIA,
            plugin=rehearsal.plugin,
        )
        signed_by = _register(rehearsal, now=now)
        plan = planning.draft_plan(
            draft=PlanDraft(
                external_id=f"{PLAN_PREFIX}{rehearsal.plugin}-{rehearsal.version}-"
                f"{secrets.token_hex(3)}"[:120],
                plugin=rehearsal.plugin,
                to_version=rehearsal.version,
                policy=rehearsal.policy.name,
                deployer=rehearsal.deployer,
                tenants=TenantChoice(all=True),
                owner_name=author.get_full_name(),
                owner_email=author.email,
                note="A rehearsal: everything but the tenants was made for this run.",
            ),
            author=author,
            now=now,
            via=VIA,
        )
        _say_what_is_not_real(plan, rehearsal, signed_by, now=now)
        plan = planning.submit(plan_id=plan.pk, by=author, now=now, via=VIA)
        gatekeeper = _gatekeeper(rehearsal) or author
    return Stage(plan, author, approvers, gatekeeper)


def _gatekeeper(rehearsal: Rehearsal) -> User | None:
    rule = parse_policy_file(rehearsal.policy_text).approvals[rehearsal.policy.approvals]
    if not rule.gate_roles:
        return None
    role = rule.gate_roles[0]
    return _person("gatekeeper", f"Rehearsal {role} at the gate", RoleBinding.APPROVAL, role)


def give_approvals(stage: Stage, *, now: datetime) -> None:
    """Let each approver agree for one role."""
    for person, role in stage.approvers:
        approve(
            plan_id=stage.plan.pk,
            approver=person,
            role=role,
            comment="Approved by the rehearsal itself.",
            now=now,
            via=VIA,
            step_up=StepUp((REHEARSED,), now),
        )


def _person(key: str, name: str, kind: str, role: str) -> User:
    # No password: nobody logs in as them.
    person = User.objects.create_user(f"{key}{MAIL_DOMAIN}", name=name[:120])
    RoleBinding.objects.create(user=person, kind=kind, role=role)
    return person


def _register(rehearsal: Rehearsal, *, now: datetime) -> str:
    """Register the release that was handed in, or sign one; return the sentence about its key."""
    release = rehearsal.release
    if release is not None:
        envelope, key_id, public_key = release.envelope, release.key_id, release.public_key
        sentence = f"the release was handed in and verified by key {key_id}, as handed in"
    else:
        key = new_key()
        # No artifact is at hand, so the signature covers the release's name and version.
        digest = hashlib.sha256(f"{rehearsal.plugin} {rehearsal.version}\n".encode()).hexdigest()
        _statement, envelope = sign_release(
            rehearsal.plugin, rehearsal.version, digest, key.private_pem
        )
        key_id, public_key = key.key_id, key.public_pem
        sentence = f"the release was signed with key {key_id}, made for this run alone"
    trust_key(
        key_id=key_id,
        public_key=public_key,
        name="Rehearsal",
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=30),
        plugins=(rehearsal.plugin,),
        by=None,
        now=now,
        via=VIA,
    )
    register_release(envelope=envelope, by=None, now=now, via=VIA)
    return sentence


def _say_what_is_not_real(
    plan: Plan, rehearsal: Rehearsal, signed_by: str, *, now: datetime
) -> None:
    roles = ", ".join(rehearsal.approval_roles) or "no role"
    told = [signed_by, f"its author and its approvers ({roles}) were made for this run"]
    if rehearsal.soak_scale != 1:
        told.append(
            f"soaks and windows of the policy are multiplied by {rehearsal.soak_scale:g}"
            " (no window below two looks)"
        )
    if not rehearsal.takeover:
        told.append("the watch may not do the hands' work")
    told.append("mail stays in the rehearsal's folder")
    if Path(settings.OUTBOUND_FILE).name == way_out.FILE and (
        shown := way_out.opened(outbound_rules()())
    ):
        told.append(f"{shown} was opened because its files name it")
    events.record(
        stream=plan,
        kind="rehearsal_noted",
        sentence=f"This is a rehearsal: {'; '.join(told)}.",
        actor=None,
        via=VIA,
        now=now,
        payload={
            "soak_scale": rehearsal.soak_scale,
            "takeover": rehearsal.takeover,
            "release_handed_in": rehearsal.release is not None,
        },
    )
