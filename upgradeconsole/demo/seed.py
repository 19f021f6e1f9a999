"""What fills an empty console for its first ten minutes: people, tenants, releases, four plans."""

import csv
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from batches.models import KpiRollup
from batches.rollout import planning
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.models import Plan, RoleBinding, Tenant, User
from plans.policies.keeping import save_policy_text
from plans.refusal import Refused
from plans.releases.registering import register_release, trust_key
from plans.releases.signature import new_key, sign_release
from plans.tenants.importing import import_tenants
from upgradeconsole.demo.past import past_of
from upgradeconsole.demo.releases import BASELINE, PLUGIN, digest_of
from upgradeconsole.demo.tenants import DemoTenant, demo_tenants

TENANTS = 120
VIA = "command"
DEPLOYER = "fleet"
KEY_FILE = "keys/demo-signing-key.pem"
LOGINS_FILE = "demo-logins.txt"


@dataclass(frozen=True, slots=True)
class Person:
    """One of the demo's people: `roles` are console roles, `approves_as` approval roles."""

    name: str
    title: str
    roles: tuple[str, ...] = ()
    approves_as: tuple[str, ...] = ()
    administers: bool = False

    @property
    def email(self) -> str:
        """Return the log-in."""
        return f"{self.name.split()[0].lower()}@example.org"


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """A plan that waits for its two approvals."""

    external_id: str
    version: str
    note: str
    policy: str = "demo-careful"


MARA = Person("Mara Petrosyan", "release manager", ("release_manager",))
ADA = Person("Ada Lindqvist", "administrator", ("administrator",), administers=True)
PEOPLE = (
    MARA,
    Person("Aram Hovsepian", "approver", ("approver",), ("system_admin",)),
    Person("Sona Marchetti", "approver", ("approver",), ("role_admin",)),
    Person("Olga Brandt", "operator", ("operator", "break_glass")),
    Person("Rita Okafor", "auditor", ("auditor",)),
    ADA,
)

_ONE_AT_A_TIME = (
    " A tenant is in one live plan at a time: while another plan runs, this one waits and then"
    " starts by itself."
)
# In the order in which they are best tried. Each is over all tenants, so that the whole fleet is
# seen to move; whichever was approved first runs first.
PLANS = (
    DemoPlan(
        "demo-1-takes-itself-back",
        "1.5.1",
        "Try this one first. Release 1.5.1 is bad: 8 % of the requests fail, the policy allows 2 %."
        " Once Aram and Sona have approved, the plan starts by itself, 6 canary tenants get the"
        " release, and a few looks later the console takes all of them back without being asked."
        " The other 114 never see it. All of it takes less than a minute." + _ONE_AT_A_TIME,
    ),
    DemoPlan(
        "demo-2-goes-well",
        "1.5.0",
        "Release 1.5.0 is good: it goes to 6, then 36, then 78 tenants, each batch is watched for"
        " about 20 s, and the report is there at the end. Pause it as Olga while it runs: unless"
        " you resume within a minute, everything is taken back." + _ONE_AT_A_TIME,
    ),
    DemoPlan(
        "demo-3-too-slow",
        "1.6.0",
        "Release 1.6.0 fails no more than the old one, but it is slow: most of the slow requests"
        " take more than the 200 ms that the policy allows. Watch latency, not errors, take it"
        " back." + _ONE_AT_A_TIME,
    ),
    DemoPlan(
        "demo-4-what-no-limit-sees",
        "1.5.2",
        "Release 1.5.2 is a little worse: 2 % of the requests fail where 0.5 % is usual. The limit"
        " of 5 % never sees it. The evidence test compares the 11 canary tenants with those who"
        " wait: watch its line rise to 100 % within about a minute, then everything is taken back."
        + _ONE_AT_A_TIME,
        policy="demo-evidence",
    ),
)


class NotEmpty(Refused):
    """There are people or plans already; the demonstration is for an empty database."""

    default_code = "not_empty"


def require_empty() -> None:
    """Raise NotEmpty when somebody works with this database already."""
    if User.objects.exists() or Plan.objects.exists():
        raise NotEmpty(
            "This database holds people or plans already; the demonstration fills an empty one."
            " Another folder: UPGRADECONSOLE_DATA=DIR."
        )


def seed_demo(*, data_dir: Path, policies: Path, now: datetime) -> list[Plan]:
    """Fill an empty database, all or nothing; return the plans that wait for approval.

    The log-ins are written to demo-logins.txt and the signing key to keys/, both readable by
    their owner alone.
    """
    with transaction.atomic():
        require_empty()
        people, passwords = _make_people()
        mara, ada = people[MARA.name], people[ADA.name]
        _import_tenants(demo_tenants(TENANTS), by=mara, now=now)
        KpiRollup.objects.bulk_create(past_of(Tenant.objects.values_list("key", flat=True), now))
        _register_releases(data_dir / KEY_FILE, mara=mara, ada=ada, now=now)
        save_policy_text(
            text=policies.read_text(encoding="utf-8"),
            source=policies.name,
            by=ada,
            now=now,
            via=VIA,
        )
        plans = _make_plans(mara, now)
        # Last, since `./console up` takes this file for the sign that there is a demonstration.
        write_private(data_dir / LOGINS_FILE, _logins(passwords))
    return plans


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    beside.replace(path)


def _make_people() -> tuple[dict[str, User], dict[str, str]]:
    made: dict[str, User] = {}
    passwords: dict[str, str] = {}
    for person in PEOPLE:
        passwords[person.email] = secrets.token_urlsafe(12)
        made[person.name] = User.objects.create_user(
            person.email,
            passwords[person.email],
            name=person.name,
            is_staff=person.administers,
            is_superuser=person.administers,
        )
    RoleBinding.objects.bulk_create(
        RoleBinding(user=made[person.name], kind=kind, role=role)
        for person in PEOPLE
        for kind, roles in (
            (RoleBinding.CONSOLE, person.roles),
            (RoleBinding.APPROVAL, person.approves_as),
        )
        for role in roles
    )
    return made, passwords


def _logins(passwords: Mapping[str, str]) -> str:
    rows = [
        (
            person.title + (f" ({', '.join(person.approves_as)})" if person.approves_as else ""),
            person.email,
            passwords[person.email],
        )
        for person in PEOPLE
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "".join(
        f"{role:<{widths[0]}}  {email:<{widths[1]}}  {password}\n" for role, email, password in rows
    )


def _import_tenants(tenants: Sequence[DemoTenant], *, by: User, now: datetime) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["tenant", "name", "owner_email", "version", "labels"])
    for tenant in tenants:
        labels = ";".join(f"{name}={value}" for name, value in tenant["labels"].items())
        writer.writerow([tenant["tenant"], tenant["name"], tenant["owner_email"], BASELINE, labels])
    import_tenants(text=text.getvalue(), form="csv", by=by, now=now, via=VIA, plugin=PLUGIN)
    # The import's files name owners by their address alone.
    owners = {tenant["tenant"]: tenant["owner_name"] for tenant in tenants}
    rows = list(Tenant.objects.filter(key__in=owners))
    for row in rows:
        row.owner_name = owners[row.key]
    Tenant.objects.bulk_update(rows, ["owner_name"], batch_size=300)


def _register_releases(key_file: Path, *, mara: User, ada: User, now: datetime) -> None:
    key = new_key()
    write_private(key_file, key.private_pem)
    trust_key(
        key_id=key.key_id,
        public_key=key.public_pem,
        name="Demonstration, made for this installation",
        not_before=now,
        not_after=now + timedelta(days=365),
        plugins=(PLUGIN,),
        by=ada,
        now=now,
        via=VIA,
    )
    # The version that all run now as well: a rollback brings it back.
    for version in sorted({BASELINE, *(plan.version for plan in PLANS)}):
        _release, envelope = sign_release(PLUGIN, version, digest_of(version), key.private_pem)
        register_release(envelope=envelope, by=mara, now=now, via=VIA)


def _make_plans(mara: User, now: datetime) -> list[Plan]:
    """Draft the plans, the best first one last: lists show the newest on top."""
    plans: list[Plan] = []
    for step, plan in enumerate(reversed(PLANS)):
        draft = PlanDraft(
            external_id=plan.external_id,
            plugin=PLUGIN,
            to_version=plan.version,
            policy=plan.policy,
            deployer=DEPLOYER,
            tenants=TenantChoice(all=True),
            owner_name=mara.name,
            owner_email=mara.email,
            note=plan.note,
        )
        at = now + timedelta(microseconds=step)
        plans.insert(0, planning.draft_plan(draft=draft, author=mara, now=at, via=VIA))
    # Submitted in the order of trying: an approver's list begins with the nearest deadline.
    return [
        planning.submit(
            plan_id=plan.pk, by=mara, now=now + timedelta(milliseconds=1 + step), via=VIA
        )
        for step, plan in enumerate(plans)
    ]
