"""A plan as a report sees it: canary passes, wave-1 breaches and is taken back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reports.document.facts import EventFact, FieldChange, LimitsFact, ReportFacts, TrailFact
from reports.document.facts_agreed import (
    Person,
    ReleaseFact,
    RequestFact,
    RevisionFact,
    VerdictFact,
)
from reports.document.facts_course import (
    AlertFact,
    BatchFact,
    KpiFact,
    KpiLimit,
    KpiPoint,
    RollbackFact,
    RulingFact,
    TenantFact,
)

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MARA = Person("Mara Lindt", "mara@example.com")
OLGA = Person("Olga Petrova", "olga@example.com")
ARAM = Person("Aram Sarkisyan", "aram@example.com")
SONA = Person("Sona Hakobyan", "sona@example.com")
POLICY = """\
policies:
  safe-rollout:
    description: "Canary, then two waves"
    batches:
      - {name: canary, percentage: 5, soak_minutes: 30, metrics: [sandbox.test.pass_rate]}
      - {name: wave-1, percentage: 30, soak_minutes: 60}
      - {name: wave-2, percentage: 65, soak_minutes: 120}
    rollback_thresholds: {error_rate: 5, latency_ms: 200}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""


def after(minutes: float) -> datetime:
    """Return a moment of the sample day, counted from nine o'clock."""
    return NINE + timedelta(minutes=minutes)


def tenant(number: int, state: str = "upgraded", *, at: float = 61) -> TenantFact:
    """Return one tenant with the times that fit its state."""
    version = "1.5.0" if state == "upgraded" else "1.4.2"
    touched = None if state == "pending" else after(at)
    return TenantFact(
        key=f"tenant-{number:05d}",
        owner=f"team-{number % 7}@example.com",
        state=state,
        version_before="1.4.2",
        version_observed=version,
        observed_at=touched,
        touched_at=touched,
        upgraded_at=after(at + 0.02) if touched else None,
        restored_at=after(97.6) if state == "rolled_back" else None,
        attempts=1 if touched else 0,
        error="503 Service Unavailable: node draining" if state == "needs_hand" else "",
    )


def batch(number: int, name: str, state: str, tenants: tuple[TenantFact, ...]) -> BatchFact:
    """Return one batch; batch 1 calls at 10:01, the next half an hour later each."""
    began = 61 + (number - 1) * 35
    opened = state not in {"pending", "skipped"}
    return BatchFact(
        number=number,
        name=name,
        state=state,
        owner=str(MARA),
        advance="automatic",
        hold_back=False,
        metrics=("sandbox.test.pass_rate",) if number == 1 else (),
        executors=("hands",) if opened else (),
        opened_at=after(began) if opened else None,
        calling_since=after(began) if opened else None,
        calls_done_at=after(began + 0.7) if opened else None,
        soak_seconds=1800.0 * number,
        ended_at=after(97.7 if state == "rolled_back" else began + 31) if opened else None,
        promoted_by=None,
        held_at=None,
        held_reason="",
        tenants=tenants,
    )


def rollback(*, seconds: float = 37.4, needs_hand: int = 0) -> RollbackFact:
    """Return a rollback that a breach of the error rate set off."""
    start = after(97)
    end = start + timedelta(seconds=seconds)
    return RollbackFact(
        id="5f0c7d52-7b36-4a4c-9a6e-0d2d1a9f4c11",
        scope="plan",
        trigger="breach",
        reason="error_rate is 9.4 %, more than 5 % in 2 looks running",
        sentence="error_rate is 9.4 %, more than 5 % in 2 looks running",
        by="the console (watch)",
        via="watch",
        triggered_at=start,
        clock_from=start,
        deadline=start + timedelta(seconds=180),
        quote_seconds=64.0,
        touched=40,
        restored=40 - needs_hand,
        needs_hand=needs_hand,
        superseded=(),
        first_call_at=start + timedelta(seconds=0.31),
        verified_at=end,
        finished_at=end,
        missed_at=after(100) if seconds > 180 else None,
    )


def events() -> tuple[EventFact, ...]:
    """Return a short trail: people first, then the console."""
    told = (
        (0, "plan_drafted", MARA, "page", "Mara Lindt drafted the plan."),
        (12, "plan_submitted", MARA, "page", "Mara Lindt handed the plan in."),
        (31, "plan_approved", SONA, "page", "Sona Hakobyan approved as role_admin."),
        (60, "plan_started", OLGA, "page", "Olga Petrova started the plan."),
        (61, "batch_opened", None, "watch", "Batch canary began with 6 tenants."),
        (97, "rollback_begun", None, "watch", "error_rate is 9.4 %, more than 5 %."),
        (98, "plan_rolled_back", None, "watch", "All 40 touched tenants are back."),
    )
    return tuple(
        EventFact(
            seq=seq,
            at=after(minutes),
            kind=kind,
            actor=person.name if person else f"the console ({via})",
            human=person is not None,
            via=via,
            sentence=sentence,
            hash=f"{seq:02x}" * 32,
        )
        for seq, (minutes, kind, person, via, sentence) in enumerate(told, start=1)
    )


def error_rate() -> KpiFact:
    """Return a course that stays low, has one blind look, and rises at last."""
    points = [
        KpiPoint(after(61 + m / 4), 1.2 + 0.4 * (m % 5), 1.1 + 0.2 * (m % 3), drawn=True)
        for m in range(132)
    ]
    points += [KpiPoint(after(94 + m / 4), 2.0 + 0.7 * m, 1.3, drawn=True) for m in range(12)]
    points[40] = KpiPoint(points[40].at, None, cause="the source did not answer in 3 s")
    return KpiFact(
        "error_rate", "", "%", "fleet", (KpiLimit(5.0, "at most 5 %"),), 144, 1, tuple(points)
    )


def pass_rate() -> KpiFact:
    """Return a Kpi that is watched without a limit."""
    points = tuple(KpiPoint(after(61 + m), 97.5 + 0.5 * (m % 4), drawn=True) for m in range(36))
    return KpiFact("sandbox.test.pass_rate", "", "%", "prom", (), 36, 0, points)


def breach() -> RulingFact:
    """Return the ruling that set the rollback off."""
    return RulingFact(
        at=after(96.9),
        batch="wave-1",
        guardrail="error_rate",
        kpi="error_rate",
        verdict="breached",
        action="rollback",
        sentence="error_rate is 9.4 %, more than 5 % in 2 looks running",
        value=9.4,
        threshold=5.0,
        unit="%",
        n=2412,
        window_seconds=60.0,
        inputs_digest="9c" * 32,
    )


def approvals() -> RequestFact:
    """Return a request that two people of two roles answered."""
    return RequestFact(
        action="start",
        revision=2,
        plan_digest="d2" * 32,
        roles=("system_admin", "role_admin"),
        opened_by=MARA,
        opened_at=after(12),
        deadline=after(72),
        closed_at=after(31),
        outcome="approved",
        verdicts=(
            VerdictFact(ARAM, "system_admin", "approved", after(22), "totp", "Quote looks fine."),
            VerdictFact(SONA, "role_admin", "approved", after(31), "webauthn", ""),
        ),
    )


def rolled_back_facts() -> ReportFacts:
    """Return the facts of a plan that breached in its second batch and was taken back."""
    canary = tuple(tenant(n, "rolled_back") for n in range(6))
    wave_1 = tuple(tenant(n, "rolled_back", at=96) for n in range(6, 40))
    wave_2 = tuple(tenant(n, "pending") for n in range(40, 120))
    return ReportFacts(
        plan_id="0b3f3e9e-4d57-4d0e-8a0a-5f1f2f7b9f10",
        external_id="CHG-20417",
        note="Security fix of the payment form, ticket PAY-88",
        state="rolled_back",
        deployer="fleet",
        owner=MARA,
        author=MARA,
        from_versions=("1.4.2",),
        release=ReleaseFact(
            "acme-payments", "1.5.0", "ab" * 32, "release-2026 (7f3a9c)", after(-60), False
        ),
        created_at=after(0),
        submitted_at=after(12),
        approved_at=after(31),
        started_at=after(60),
        started_by=OLGA,
        ended_at=after(97.7),
        soak_scale=1.0,
        limits=LimitsFact(98.0, 5.0, 180.0, 30.0, 5.0),
        policy_name="safe-rollout",
        policy_digest="c3" * 32,
        policy_text=POLICY,
        revisions=(
            RevisionFact(
                1, after(0), MARA, "", "safe-rollout", "c3" * 32, "e4" * 32, "d1" * 32, "default"
            ),
            RevisionFact(
                2,
                after(10),
                MARA,
                "two tenants added",
                "safe-rollout",
                "c3" * 32,
                "e5" * 32,
                "d2" * 32,
                "default",
            ),
        ),
        requests=(approvals(),),
        adjustments=(),
        planned_tenants=120,
        left_out=(("tenant-00999", "excluded by the policy: contract freeze"),),
        batches=(
            batch(1, "canary", "rolled_back", canary),
            batch(2, "wave-1", "rolled_back", wave_1),
            batch(3, "wave-2", "skipped", wave_2),
        ),
        kpis=(error_rate(), pass_rate()),
        rulings=(breach(),),
        rollbacks=(rollback(),),
        alerts=(AlertFact("breach", "error_rate is 9.4 %, more than 5 %.", after(97), after(98)),),
        trail=TrailFact("plan:0b3f3e9e", events(), "07" * 32, True, "every link holds"),
        field_changes=(
            FieldChange(after(31), "Sona Hakobyan", "plan CHG-20417", "update", ("state: a → b",)),
        ),
        cut_off=after(98),
        generator="Upgrade Console 0.1.0",
        instance="console",
        url="https://console.example.com",
    )


def completed_facts() -> ReportFacts:
    """Return the facts of a plan without any trouble."""
    canary = tuple(tenant(n) for n in range(6))
    wave = tuple(tenant(n, at=96) for n in range(6, 120))
    calm = replace(pass_rate(), points=pass_rate().points[:20], looks=20)
    return replace(
        rolled_back_facts(),
        state="completed",
        batches=(batch(1, "canary", "passed", canary), batch(2, "wave-1", "passed", wave)),
        kpis=(calm,),
        rulings=(),
        rollbacks=(),
        alerts=(),
        trail=replace(rolled_back_facts().trail, events=events()[:4]),
    )


def large_facts(tenants: int) -> ReportFacts:
    """Return the facts of five batches over many tenants with owners of their own."""
    size = tenants // 5
    batches = tuple(
        batch(
            number,
            f"wave-{number}",
            "passed",
            tuple(
                tenant(n, at=26 + 35 * number) for n in range((number - 1) * size, number * size)
            ),
        )
        for number in range(1, 6)
    )
    return replace(completed_facts(), batches=batches, planned_tenants=tenants)
