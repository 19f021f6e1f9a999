"""Two plans that are two people's: one over tenants in eu, one over a tenant in us."""

import uuid
from datetime import timedelta
from typing import Any

from batches.models import DrillSchedule, RollbackDrill
from plans.approvals import approval
from plans.drafting.drafting import TenantChoice, current_revision
from plans.models import CONSOLE_ROLES, BreakGlass, Grant, Plan, RoleBinding, RoleRequest, User
from plans.openings.freezing import declare_freeze
from plans.people.machine_access import make_token
from reports.models import UpgradeReport
from tests.builders import a_draft, a_started
from tests.web.api_scene import Scene, now, person

OWN, OTHER, MISSING = "own", "other", "missing"
EU = {"region": "eu"}
CONSOLE = [role for role, _label in CONSOLE_ROLES]
APPROVES, STRANGER = "system_admin", "nobody"
HOLDERS = [*CONSOLE, APPROVES, STRANGER]


class TwoSides(Scene):
    """The scene with a running plan on either side, and people whose roles end at the border."""

    def __init__(self) -> None:
        super().__init__()
        self.plans = {
            OWN: a_started(self, keys=("acorn", "birch"), external_id="in-eu"),
            OTHER: a_started(self, keys=("cedar",), external_id="in-us"),
        }
        self.waiting = {
            OWN: self._submitted("acorn", "waits-in-eu"),
            OTHER: self._submitted("cedar", "waits-in-us"),
        }
        self.people = {holder: self.holder(holder, EU) for holder in HOLDERS}
        self.freezes = {
            side: declare_freeze(
                name=f"freeze {side}", reason="holidays", tenants=[key],
                begins_at=now() + timedelta(days=1), by=self.ada, now=now(), via="page",
            )
            for side, key in ((OWN, "birch"), (OTHER, "cedar"))
        }  # fmt: skip
        self.schedules = {
            side: self._schedule(side, key) for side, key in ((OWN, "acorn"), (OTHER, "cedar"))
        }
        self.glass = {side: self._glass(plan) for side, plan in self.plans.items()}
        self.drills = {side: self._drill(plan) for side, plan in self.plans.items()}
        self.reports = {
            side: UpgradeReport.objects.create(
                plan=plan, ending=now(), state="completed", issued_at=now(), next_at=now(),
                sha256="0" * 64, file="not/there.pdf",
            )
            for side, plan in self.plans.items()
        }  # fmt: skip
        self.request = RoleRequest.objects.create(
            # Asked after all of them became what they are: each administrator may be the second.
            user=self.ada,
            asked_by=self.ada,
            role="system_admin",
            asked_at=now() + timedelta(minutes=5),
        )

    def holder(self, role: str, selector: dict[str, str]) -> User:
        """Return somebody with that role over the tenants, and none other."""
        where = "eu" if selector else "all"
        user = person(f"{role}-{where}")
        if role != STRANGER:
            kind = RoleBinding.APPROVAL if role == APPROVES else RoleBinding.CONSOLE
            RoleBinding.objects.create(user=user, kind=kind, role=role, selector=selector)
        return user

    def _submitted(self, key: str, name: str) -> Plan:
        plan = a_draft(self, keys=(key,), external_id=name)
        return approval.submit(plan_id=plan.pk, by=self.mara, now=now(), via="page")

    def _schedule(self, side: str, key: str) -> DrillSchedule:
        return DrillSchedule.objects.create(
            name=f"weekly {side}", release=self.release, deployer="fleet",
            tenant_choice=TenantChoice(keys=(key,)).to_json(), injects=["none"], days=["mon"],
            at="03:00", timezone="UTC", roles=["system_admin"], by=self.mara, created_at=now(),
            next_at=now() + timedelta(days=7),
        )  # fmt: skip

    def _glass(self, plan: Plan) -> BreakGlass:
        grant = Grant.objects.create(
            plan=plan, action="start", approver=self.olga, payload="", sig="", kid="",
            issued_at=now(), expires_at=now(),
        )  # fmt: skip
        return BreakGlass.objects.create(
            plan=plan, act="start", grant=grant, by=self.olga, at=now(), reason="it burns",
            review_due=now() + timedelta(days=1),
        )  # fmt: skip

    def _drill(self, plan: Plan) -> RollbackDrill:
        return RollbackDrill.objects.create(
            kind=RollbackDrill.REHEARSAL, plan=plan, deployer="fleet", inject="none", phase="plan",
            started_at=now(), clock_from=now(), limit_seconds=180,
        )  # fmt: skip

    def digest(self) -> str:
        """Return what the own plan's approvers are asked to agree to."""
        return current_revision(self.waiting[OWN]).plan_digest

    def named(self, about: str, side: str, who: User) -> Any:
        """Return what an address about such a thing names, on that side."""
        if side == MISSING:
            return "nowhere" if about == "tenant" else uuid.uuid4()
        if about == "token":
            owner = who if side == OWN else self.mara
            made = make_token(user=owner, name=side, days=1, by=None, now=now(), via="command")
            return made.token.pk
        if about == "tenant":
            return "acorn" if side == OWN else "cedar"
        rows = {
            "plan": self.plans, "waiting": self.waiting, "freeze": self.freezes,
            "schedule": self.schedules, "drill": self.drills, "report": self.reports,
            "glass": self.glass,
        }  # fmt: skip
        return rows[about][side].pk
