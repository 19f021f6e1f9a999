"""The policies of the simulated plans: everything takes seconds where people would say minutes."""

from collections.abc import Mapping

_TWO = (("canary", 34), ("rest", 66))
_HALVES = (("canary", 50), ("rest", 50))
_THREE = (("canary", 20), ("some", 30), ("rest", 50))
_LIMITS = {
    "look_seconds": 1,
    "call_timeout_seconds": 3,
    "attempts": 2,
    "parallelism": 5,
    "missing_metrics_minutes": 0.2,
    "hold_minutes": 0.4,
    "batch_minutes": 0.5,
}


def _rollback(**rules: str) -> str:
    """Return the rules of the rollback; what follows one is watched for some seconds."""
    named = {"watch_after_minutes": "0.05", **rules}
    words = ", ".join(f"{key}: {value}" for key, value in named.items())
    return f"rollback: {{on_manual_pause: {{rollback_after_seconds: 8}}, {words}}}"


_PAUSE = _rollback()
_WEIGHED = "evidence: {{kpis: [error_rate], action: {}, detect: 50, power: 50}}"
_GUARDRAIL = "kpi: error_rate, at_most: 10, window: 10s, min_samples: 5"


def _text(
    name: str,
    *,
    batches: tuple[tuple[str, int], ...] = _TWO,
    manual: bool = False,
    limits: Mapping[str, float] | None = None,
    guardrail: str = "",
    more: tuple[str, ...] = (_PAUSE,),
    pending: float = 60,
) -> str:
    lines = [f"policies:\n  {name}:\n    description: {name}\n    batches:"]
    for place, (batch, share) in enumerate(batches):
        gate = ", advance: manual" if manual and place else ""
        lines.append(f"      - {{name: {batch}, percentage: {share}, soak_minutes: 0.04{gate}}}")
    numbers = ", ".join(f"{key}: {value}" for key, value in {**_LIMITS, **(limits or {})}.items())
    lines.append(f"    limits: {{{numbers}}}")
    lines.append(f"    guardrails: [{{{_GUARDRAIL}{guardrail}}}]")
    lines += [f"    {line}" for line in more]
    lines.append(
        "approvals:\n  default: {required_roles: [system_admin, role_admin],"
        f" max_pending_minutes: {pending}}}"
    )
    return "\n".join(lines) + "\n"


LENIENT = {"failure_rate": 100, "success_rate": 0}
POLICIES = {
    "two": _text("two"),
    # Nothing is known of its tenants from before, so the evidence test only warns.
    "three": _text("three", batches=_THREE, more=(_PAUSE, _WEIGHED.format("warn"))),
    "weighed": _text(
        "weighed",
        batches=_THREE,
        guardrail=", action: warn",
        more=(_PAUSE, _WEIGHED.format("rollback")),
    ),
    "weighed_pausing": _text(
        "weighed_pausing",
        batches=_THREE,
        guardrail=", action: warn",
        more=(_PAUSE, _WEIGHED.format("pause")),
    ),
    "manual": _text("manual", manual=True),
    "lenient": _text("lenient", batches=_THREE, limits=LENIENT),
    "holding": _text(
        "holding", limits={"success_rate": 0}, more=(_PAUSE, "on: {failure_rate: hold}")
    ),
    "pausing": _text("pausing", guardrail=", action: pause"),
    "slow": _text("slow", limits={"batch_minutes": 0.05, "parallelism": 1}),
    "tight": _text(
        "tight",
        batches=_HALVES,
        # The way back from four tenants takes 5.3 s at worst, from seven 5.4 s.
        limits={"rollback_seconds": 5.35, "call_timeout_seconds": 1, "parallelism": 1},
    ),
    "short": _text("short", limits={"rollback_seconds": 60}),
    "hasty": _text("hasty", pending=0.05),
    "drilling": _text("drilling", more=(_rollback(drill="true"),)),
    "one_way": _text("one_way", batches=_THREE, more=(_rollback(irreversible="freeze"),)),
    "sparing": _text("sparing", batches=_THREE, limits=LENIENT, more=(_rollback(scope="tenant"),)),
    "batchwise": _text("batchwise", batches=_THREE, more=(_rollback(scope="batch"),)),
    "closing_soon": _text("closing_soon", more=(_PAUSE, "not_after: 2026-11-24T09:00:05Z")),
    "windowed": _text(
        "windowed",
        more=(
            _PAUSE,
            "windows:",
            "  - {kind: deny, days: [tue], from: '09:01', to: '09:02', timezone: UTC}",
        ),
    ),
    "closing": _text(
        "closing",
        more=(
            _PAUSE,
            "windows:",
            "  - {kind: deny, days: [tue], from: '00:00', to: '23:00', timezone: UTC}",
            "not_after: 2026-11-24T09:00:06Z",
        ),
    ),
}
