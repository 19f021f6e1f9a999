"""What a new installation needs before its first plan, in the order in which people do it.

Each step is looked up as it stands; nothing is remembered, so a step that came undone says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings

from batches.configured import deployers, dictionary, is_example
from plans.models import Plan, Release, RoleBinding, Tenant, TrustKey, User
from plans.people.permissions import may
from plans.policies.newest import written_by_people
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput

PEOPLE_NEEDED = ("release_manager", "operator")
"""The console roles without which nobody plans, and nobody watches."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do; `page` and `label` lead this person there, if they may do it."""

    title: str
    done: bool
    told: str
    page: str = ""
    label: str = ""


def first_steps(person: User, now: datetime) -> tuple[Step, ...]:
    """Return the steps to a first plan, each done or not, as this person may take them.

    None once there is a plan, be it one that the person may not see.
    """
    if Plan.objects.exists():
        return ()
    steps = (
        _file(
            "Say how your platform upgrades, restores and reads a tenant",
            Path(settings.DEPLOYERS_FILE),
            lambda: ", ".join(sorted(deployers())),
        ),
        _file(
            "Say where your metrics are and what they mean",
            Path(settings.DICTIONARY_FILE),
            lambda: ", ".join(sorted(dictionary().kpis)),
            page="kpi-list",
            label="Look at the Kpis",
        ),
        _policies(person),
        _people(person, now),
        _tenants(person),
        _key(person),
        _release(person),
    )
    if not may(person, "draft"):
        return steps
    return (
        *steps,
        Step(
            "Draft the first plan",
            done=False,
            told="Nothing happens before it is approved and started.",
            page="plan-new",
            label="New plan",
        ),
    )


def _file(
    title: str, path: Path, names: Callable[[], str], *, page: str = "", label: str = ""
) -> Step:
    """Return the step of a file: done once it is this installation's own and can be read."""
    if is_example(path):
        own = settings.DATA_DIR / "config" / path.name
        told = f"This is still the shipped example. Write {own}; it counts as soon as it is there."
        return Step(title, done=False, told=told)
    try:
        told = names()
    except BadInput as bad:
        return Step(title, done=False, told="; ".join(bad.problems), page=page, label=label)
    return Step(title, done=True, told=f"{path} names {told}.", page=page, label=label)


def _policies(person: User) -> Step:
    names = list(written_by_people().values_list("name", flat=True))
    return Step(
        "Write a policy",
        done=bool(names),
        told=", ".join(names) or "It says who goes first, how long, and what takes it all back.",
        page="policy-check",
        label="Check and save a policy file"
        if may(person, "manage_policies")
        else "Check a policy file",
    )


def _people(person: User, now: datetime) -> Step:
    held = set(RoleBinding.objects.in_force(now).values_list("role", flat=True))
    asked: set[str] = set()
    for row in written_by_people():
        policy_file = parse_policy_file(row.text)
        rule = policy_file.approvals.get(policy_file.policies[row.name].approvals)
        asked |= set(rule.required_roles) if rule else set()
    missing = [role for role in (*PEOPLE_NEEDED, *sorted(asked)) if role not in held]
    told = f"Nobody is {', '.join(missing)} yet." if missing else "Every role is held by somebody."
    return Step(
        "Let people in, and give them their roles",
        done=not missing,
        told=told,
        page="admin:plans_user_changelist" if person.is_staff else "",
        label="People and roles",
    )


def _tenants(person: User) -> Step:
    allowed = may(person, "manage_tenants")
    return Step(
        "Import your tenants",
        done=Tenant.objects.exists(),
        told="From CSV or YAML; you see what would change before anything is written.",
        page="tenant-import" if allowed else "",
        label="Import tenants",
    )


def _key(person: User) -> Step:
    return Step(
        "Trust the key that signs your releases",
        done=TrustKey.objects.filter(revoked_at=None).exists(),
        told="./console manage trust_key --new NAME makes a pair; a public key is handed in here.",
        page="key-new" if may(person, "administer") else "",
        label="Trust a key",
    )


def _release(person: User) -> Step:
    return Step(
        "Register a signed release",
        done=Release.objects.exists(),
        told="./console manage sign_release signs one; its release.json.dsse is handed in here.",
        page="release-register" if may(person, "manage_releases") else "",
        label="Register a release",
    )
