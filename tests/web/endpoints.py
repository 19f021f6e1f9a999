"""Every page and endpoint of the console, classified: which action each method takes, about what.

The matrix test finds the addresses in the resolver. One that is not here fails it: add its line to
PAGES or API below, with the actions of `plans.people.permissions.ROLES_OF_ACTION` ("approve" for
those of approval roles) and what its address names.
"""

from dataclasses import dataclass, field
from typing import Any

PLAN, WAITING = "plan", "waiting"
"""A plan that runs, and one that waits for approval."""
ANYBODY = "anybody"
"""No person is asked for: liveness, the icon, the metrics, which have a token of their own."""
LOGGED_IN = "logged_in"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. `about` says what its address names that is somebody's: a plan, a tenant, ..."""

    get: str = ""
    post: str = ""
    about: str = ""
    given: dict[str, Any] = field(default_factory=dict)
    kwargs: dict[str, Any] = field(default_factory=dict)
    own_is: frozenset[int] = frozenset()

    @property
    def methods(self) -> dict[str, str]:
        """Return the action of each method that there is."""
        return {name: action for name, action in (("GET", self.get), ("POST", self.post)) if action}


def _seen(about: str = "", **more: Any) -> Endpoint:
    return Endpoint(get="view", about=about, **more)


def _act(action: str, about: str = PLAN, **more: Any) -> Endpoint:
    return Endpoint(post=action, about=about, **more)


REASON = {"reason": "because"}
VERDICT = {"verdict": "justified", "comment": "There was no time."}
KEYS = {"tenant": ["acorn"]}
RELEASE, KEY = {"release_id": "release"}, {"key_id": "key"}

PAGES: dict[str, Endpoint] = {
    "livez": Endpoint(get=ANYBODY),
    "metrics": Endpoint(get=ANYBODY),
    "home": _seen(),
    "plan-list": _seen(),
    "plan-new": Endpoint(get="draft", post="draft"),
    "plan-preview": _act("draft", ""),
    "plan-edit": Endpoint(get="draft", post="draft", about=PLAN),
    "plan-submit": _act("submit"),
    "plan-adjust": Endpoint(get="adjust", post="adjust", about=PLAN),
    "plan-adjust-preview": _act("adjust"),
    "plan-replay": _seen(PLAN),
    "policy-placebo": Endpoint(get="view", post="measure", kwargs={"name": "safe-rollout"}),
    "policy-placebo-panel": _seen(kwargs={"name": "safe-rollout"}),
    "approval-inbox": _seen(),
    "plan-approve": _act("approve", WAITING, given={"digest": "digest"}),
    "plan-reject": _act("approve", WAITING, given=REASON | {"digest": "digest"}),
    "plan-cancel": _act("cancel", given=REASON),
    "plan-archive": _act("archive"),
    "plan-trail": _seen(PLAN),
    "plan-trail-csv": _seen(PLAN),
    "plan-trail-jsonl": _seen(PLAN),
    "plan-grants": _seen(PLAN),
    "plan-grants-json": _seen(PLAN),
    "tenant-list": _seen(),
    "tenant-new": Endpoint(get="manage_tenants", post="manage_tenants"),
    "tenant-import": Endpoint(get="manage_tenants", post="manage_tenants"),
    "tenant": Endpoint(
        get="view",
        post="manage_tenants",
        about="tenant",
        given={"name": "Acorn", "labels": "region=eu"},
    ),
    "release-list": _seen(),
    "release-register": Endpoint(get="manage_releases", post="manage_releases"),
    "release": _seen(kwargs=RELEASE),
    "release-verify": Endpoint(post="view", kwargs=RELEASE),
    "release-quarantine": _act("quarantine", "", kwargs=RELEASE, given=REASON),
    "release-lift": _act("administer", "", kwargs=RELEASE, given=REASON),
    "key-list": _seen(),
    "key-new": Endpoint(get="administer", post="administer"),
    "key": _seen(kwargs=KEY),
    "key-retire": _act("administer", "", kwargs=KEY, given={"not_after": "2031-01-01"}),
    "key-revoke": _act("administer", "", kwargs=KEY, given=REASON),
    "freeze-list": _seen(),
    "freeze-new": Endpoint(get="freeze", post="freeze"),
    "freeze-lift": _act("freeze", "freeze", given=REASON),
    "policy-list": _seen(),
    "policy-check": Endpoint(get="view", post="view"),
    "policy": _seen(kwargs={"name": "safe-rollout"}),
    "access-review": Endpoint(get="review_access"),
    "access-review-csv": Endpoint(get="review_access"),
    "access-review-pdf": Endpoint(get="review_access"),
    "role-give": Endpoint(get="administer", post="administer"),
    "role-confirm": Endpoint(post="administer", kwargs={"request_id": "request"}),
    "role-refuse": Endpoint(post="administer", kwargs={"request_id": "request"}, given=REASON),
    "token-list": Endpoint(get="hold_tokens"),
    "token-new": Endpoint(get="hold_tokens", post="hold_tokens"),
    "token-revoke": Endpoint(post="hold_tokens", about="token"),
    "trail": Endpoint(get="read_trail"),
    "trail-csv": Endpoint(get="read_trail"),
    "trail-jsonl": Endpoint(get="read_trail"),
    "trail-everything-jsonl": Endpoint(get="read_trail"),
    "trail-verifier": Endpoint(get=LOGGED_IN),
    "break-glass": Endpoint(
        get="break_glass", post="break_glass", about=PLAN, given={"act": "start"}
    ),
    "break-glass-list": _seen(),
    "break-glass-review": _act("review_break_glass", "glass", given=VERDICT),
    "calibration": _seen(),
    "source-list": _seen(),
    "live-plan": _seen(PLAN),
    "live-plan-parts": _seen(PLAN),
    "live-plan-tenants": _seen(PLAN),
    "live-plan-events": _seen(PLAN),
    "live-plan-snapshot": _seen(PLAN),
    "live-plan-charts": _seen(PLAN),
    "live-plan-start": _act("start"),
    "live-plan-pause": _act("pause"),
    "live-plan-resume": _act("resume"),
    "live-plan-promote": _act("promote"),
    "live-plan-release-hold": _act("resume", given=REASON),
    "live-plan-rollback": _act("rollback", given=REASON),
    "live-plan-stop": _act("stop", given=REASON),
    "live-plan-override-freeze": _act("override_freeze", given=REASON | {"freeze": "freeze"}),
    "live-plan-settle": _act("settle", given=REASON | KEYS | {"as": "excluded"}),
    "live-plan-ask": Endpoint(get="retry", about=PLAN, kwargs={"act": "retry"}, given=KEYS),
    "live-plan-do": _act("retry", given=REASON | KEYS, kwargs={"act": "retry"}),
    "live-plan-retry": _act("rollback"),
    "kpi-list": _seen(),
    "kpi-probe-all": _act("probe", ""),
    "kpi": _seen(kwargs={"name": "error_rate"}),
    "kpi-probe": _act("probe", "", kwargs={"name": "error_rate"}),
    "drill-list": _seen(),
    "drill-new": Endpoint(get="draft", post="draft"),
    "drill-schedule-new": Endpoint(get="draft", post="draft"),
    "drill-schedule-approve": _act("approve", "schedule"),
    "drill-schedule-switch": _act("draft", "schedule", given={"on": "0"}),
    "drill-schedule-run": _act("start", "schedule"),
    "reports": _seen(),
    # The report's file is not there, since nobody issued it: the page that says so is the answer.
    "report": _seen("report", own_is=frozenset({410, 500, 503})),
    "plan-report": _seen(PLAN),
}

CHANGE = {"changes": {"limits": {"failure_rate": 4}}, **REASON}
API: dict[str, Endpoint] = {
    "api-schema": Endpoint(get=LOGGED_IN),
    "api-docs": Endpoint(get=LOGGED_IN),
    "api-hand-in": _act("draft", ""),
    "api-rollback": _act("rollback", ""),
    "api-plans": _seen(),
    "api-plan": _seen(PLAN),
    "api-plan-submit": _act("submit"),
    "api-plan-approve": _act("approve", WAITING, given={"comment": "fine"}),
    "api-plan-reject": _act("approve", WAITING, given=REASON),
    "api-plan-cancel": _act("cancel"),
    "api-plan-start": _act("start"),
    "api-plan-pause": _act("pause"),
    "api-plan-resume": _act("resume"),
    "api-plan-promote": _act("promote"),
    "api-plan-adjust": _act("adjust", given=CHANGE),
    "api-plan-retry": _act("retry"),
    "api-plan-exclude": _act("exclude"),
    "api-plan-skip": _act("skip"),
    "api-plan-unskip": _act("skip"),
    "api-plan-jump": _act("skip"),
    "api-plan-skip-rest": _act("skip"),
    "api-plan-settle": _act("settle"),
    "api-plan-rollback": _act("rollback", given=REASON),
    "api-plan-stop": _act("stop", given=REASON),
    "api-plan-override-freeze": _act("override_freeze", given=REASON | {"freeze": "freeze"}),
    "api-plan-snapshot": _seen(PLAN),
    "api-plan-rulings": _seen(PLAN),
    "api-plan-tenants": _seen(PLAN),
    "api-plan-events": _seen(PLAN),
    "api-plan-replay-same": _seen(PLAN),
    "api-plan-grants": _seen(PLAN),
    "api-plan-trail": _seen(PLAN),
    "api-plan-break-glass": _act("break_glass"),
    "api-break-glass": _seen(),
    "api-break-glass-review": _act("review_break_glass", "glass", given=VERDICT),
    "api-plan-replay": _seen(PLAN, given={"threshold": "error_rate=3"}),
    "api-plan-soak": _seen(PLAN),
    "api-plan-report": _seen(PLAN),
    "api-replay": _seen(given={"threshold": "error_rate=3"}),
    "api-kpi-history": _seen(),
    # Nobody has measured it yet.
    "api-policy-placebo": Endpoint(
        get="view",
        post="measure",
        kwargs={"name": "safe-rollout"},
        own_is=frozenset({404}),
    ),
    "api-kpis": _seen(),
    "api-kpis-probe": _act("probe", ""),
    "api-kpi": _seen(kwargs={"kpi": "error_rate"}),
    "api-kpi-probe": _act("probe", "", kwargs={"kpi": "error_rate"}),
    "api-metrics": _act("push", ""),
    "api-cdevents": _act("push", ""),
    "otlp-metrics": _act("push", ""),
    "otlp-metrics-source": _act("push", "", kwargs={"source": "fleet"}),
    "api-sources": _seen(),
    "api-drills": Endpoint(get="view", post="draft"),
    "api-drill": _seen("drill"),
    "api-drill-schedules": Endpoint(get="view", post="draft"),
    "api-drill-schedule": _seen("schedule"),
    "api-drill-schedule-approve": _act("approve", "schedule"),
    "api-drill-schedule-switch": _act("draft", "schedule", given={"on": False}),
    "api-drill-schedule-run": _act("start", "schedule"),
    "api-calibration": _seen(),
    "api-freezes": Endpoint(get="view", post="freeze"),
    "api-freeze-lift": _act("freeze", "freeze", given=REASON),
    "api-tenant-import": _act("manage_tenants", ""),
    "api-releases": Endpoint(get="view", post="manage_releases"),
    "api-release": _seen(kwargs={"release": "release"}),
    "api-release-verify": _act("view", "", kwargs={"release": "release"}),
    "api-release-quarantine": _act("quarantine", "", kwargs={"release": "release"}, given=REASON),
    "api-release-lift": _act("administer", "", kwargs={"release": "release"}, given=REASON),
    "api-keys": Endpoint(get="view", post="administer"),
    "api-key": _seen(kwargs={"key": "key"}),
    "api-key-revoke": _act("administer", "", kwargs={"key": "key"}, given=REASON),
    "api-key-retire": _act("administer", "", kwargs={"key": "key"}),
    "api-trail-export": Endpoint(get="read_trail"),
    # Nothing was signed or checked yet.
    "api-trail-checkpoint": _seen(own_is=frozenset({404})),
    "api-trail-check": Endpoint(get="read_trail", own_is=frozenset({404})),
    "api-me": _seen(),
    "api-reset-factors": _act(
        "administer", "", kwargs={"person": "nils@example.org"}, given=REASON
    ),
    "api-release-log-in": _act(
        "administer", "", kwargs={"person": "nils@example.org"}, given=REASON
    ),
    "api-tokens": Endpoint(get="hold_tokens", post="hold_tokens"),
    "api-token-revoke": _act("hold_tokens", "token"),
    "api-roles": Endpoint(get="review_access", post="administer"),
    "api-role-end": _act("administer", "", kwargs={"role": "role"}, given=REASON),
    "api-role-requests": Endpoint(get="administer"),
    "api-role-confirm": _act("administer", "", kwargs={"asked": "request"}),
    "api-role-refuse": _act("administer", "", kwargs={"asked": "request"}, given=REASON),
    "api-access-review": Endpoint(get="review_access"),
    "api-person-let-go": _act("administer", "", kwargs={"person": "nils@example.org"}),
    "api-person-let-in": _act("administer", "", kwargs={"person": "nils@example.org"}),
}
