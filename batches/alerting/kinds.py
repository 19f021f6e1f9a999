"""Every kind of alert: when it fires, what the console does by itself, what a person does. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class AlertKind:
    """What an alert of a kind means, in sentences."""

    when: str
    by_itself: str
    to_do: str


_GOES_ON: Final = "Nothing new starts; it goes on by itself once that is mended."
_WAITS: Final = "The batch is held."

ALERT_KINDS: Final[Mapping[str, AlertKind]] = {
    # The four conditions that always alert, and what breaks a guardrail.
    "breach": AlertKind(
        "A guardrail or the evidence test says that the new version does harm.",
        "Takes the guardrail's scope back, or pauses, as the policy says.",
        "Watch until everybody is back; look at the chart before the release is tried again.",
    ),
    "failure_rate": AlertKind(
        "More tenants of a batch failed than `limits.failure_rate` allows.",
        "What `on.failure_rate` says: takes them back, or holds the batch.",
        "Read why they failed; retry or exclude them, or roll back.",
    ),
    "missing_metrics": AlertKind(
        "A watched Kpi has had no data for `limits.missing_metrics_minutes`.",
        "What `on.missing_metrics` says. A held batch goes on once the data is back.",
        "Look at the source of the data. To go on blind, release the hold with a reason.",
    ),
    "batch_overrun": AlertKind(
        "A batch has been calling tenants for longer than `limits.batch_minutes`.",
        "What `on.batch_overrun` says: holds the batch, or takes the plan back.",
        "Look whether the platform is slow; release the hold, or roll back.",
    ),
    "rollback_late": AlertKind(
        "30 s before the promise ends, some tenants are not back.",
        "Goes on taking them back.",
        "Look at the platform now: the alert names the tenants.",
    ),
    "rollback_failed": AlertKind(
        "Tenants were not back in time, or could not be taken back at all.",
        "Goes on while time helps; what is given up needs a hand.",
        "Retry on the plan's page, or settle each tenant by what it really runs.",
    ),
    # What a plan waits for.
    "needs_hand": AlertKind(
        "A plan is at its end, and some tenants are neither upgraded nor back.",
        "Nothing more.",
        "Roll back again, or settle them on the plan's page.",
    ),
    "hold_expired": AlertKind(
        "A batch was held for `limits.hold_minutes` and nobody decided.",
        "What `on.hold_expired` says: takes the plan back, or only tells.",
        "Release the hold, or roll back.",
    ),
    "pause_expired": AlertKind(
        "Nobody resumed a paused plan that cannot be taken back by itself.",
        "The plan stays paused.",
        "Resume, roll back, or stop the plan.",
    ),
    "success_rate": AlertKind(
        "A plan can no longer reach `limits.success_rate`; or, of no plan, a plugin's upgrades of"
        " many days fell below the agreed rate.",
        "Holds the batch of such a plan.",
        "Retry those that failed, accept the rate by releasing the hold, or roll back.",
    ),
    "nobody_left": AlertKind(
        "No tenant of a soaking batch runs the new version any more.",
        _WAITS,
        "Release the hold to go on without them, or roll back.",
    ),
    "fleet_incident": AlertKind(
        "Tenants of the old version got worse together with those of the new one.",
        _WAITS,
        "Find what ails everybody; release the hold afterwards.",
    ),
    "evidence_inconclusive": AlertKind(
        "A soak ended and the evidence test has not ruled.",
        _WAITS,
        "Wait for more requests, or let it pass with a reason.",
    ),
    "guardrail_warning": AlertKind(
        "A guardrail whose action is `warn` is broken.",
        "Nothing; the alert ends with the breach.",
        "Look at the chart and decide.",
    ),
    "bad_tenant": AlertKind(
        "One tenant is far over a limit that all together keep.",
        "Nothing; ten such tenants are told at most.",
        "Roll that tenant back, or speak with its owner.",
    ),
    "release_distrusted": AlertKind(
        "A release under way was quarantined, or its key was revoked.",
        "Holds the batch; nobody can let it go on.",
        "Roll back, or stop the plan.",
    ),
    "release_not_trusted": AlertKind(
        "The next batch waits: the signature of its release does not hold.",
        _GOES_ON,
        "Verify the release; roll back if it was tampered with.",
    ),
    "quote_exceeds_limit": AlertKind(
        "The next batch waits: all together could not be taken back in time.",
        _GOES_ON,
        "Follow the advice of the quote: more parallelism, smaller batches, shorter time-outs.",
    ),
    "closed_for_good": AlertKind(
        "No window opens any more before `not_after`.",
        "The plan waits.",
        "Loosen the windows by an adjustment, or stop the plan.",
    ),
    "configuration": AlertKind(
        "A file that the plan needs cannot be read: deployers, dictionary or policy.",
        _GOES_ON,
        "Mend the file; ./console manage check names the line.",
    ),
    "cannot_start": AlertKind(
        "An approved plan is due and may not begin.",
        "Tries again until it expires.",
        "The alert says what is missing.",
    ),
    "grant_refused": AlertKind(
        "An approved plan may not begin: the signed approvals do not fit what it says now.",
        "Nothing starts.",
        "Revise it and submit it again; if nobody changed it, find out who touched the database.",
    ),
    "unauthorized": AlertKind(
        "The platform refused the console's credentials.",
        "Holds the batch and sends nothing more; no tenant loses an attempt.",
        "Renew the token in the deployers' settings, then release the hold.",
    ),
    "watch_failed": AlertKind(
        "The watch cannot decide about a plan: something is broken in the console itself.",
        "Other plans go on; this one stands still and is tried again each second.",
        "Roll back by the button, which still works, and report the text of the alert.",
    ),
    "loosening_not_ended": AlertKind(
        "A loosening is over, and its values could not be put back.",
        "Tries again.",
        "Adjust the plan by hand; the alert says why it failed.",
    ),
    # What was found at tenants.
    "digest_mismatch": AlertKind(
        "A tenant shows the wanted version and another artifact than was signed.",
        "Counts it as failed; one that is back stays back.",
        "Find out who installed it there; treat the artifact as hostile until then.",
    ),
    "found_upgraded": AlertKind(
        "Tenants ran the target before the plan called, though something else was believed.",
        "Counts them as upgraded; a rollback leaves them.",
        "Find out who did it. Take them back by a plan of their own to the version before.",
    ),
    "untrusted_release_installed": AlertKind(
        "Tenants run a release that is in quarantine or not trusted any more.",
        "Nothing.",
        "Plan them away from it, or lift the quarantine if it was a mistake.",
    ),
    # After a rollback, and its rehearsal.
    "still_bad": AlertKind(
        "Everybody is back, and the Kpis are still bad: the release was not the cause.",
        "Nothing more.",
        "Look elsewhere for the cause.",
    ),
    "aftermath_no_data": AlertKind(
        "Everybody is back, and nobody can say whether that helped: there is no data.",
        "Nothing more.",
        "Look at the source of the data, and at the tenants.",
    ),
    "drill_failed": AlertKind(
        "A rollback drill was not back in time, or its fault was not noticed.",
        "A plan whose own drill failed is held.",
        "Do not rely on the way back until a drill passes.",
    ),
    "drill_not_run": AlertKind(
        "A scheduled drill could not begin.",
        "Tries at its next time.",
        "The alert says why; run it by hand afterwards.",
    ),
    # The console itself.
    "break_glass": AlertKind(
        "Somebody acted without the approvers.",
        "Asks for a review.",
        "Review it under Approvals.",
    ),
    "break_glass_review_overdue": AlertKind(
        "Nobody has reviewed such an act in time.",
        "Tells everybody who may.",
        "Review it under Approvals.",
    ),
    "clock_jump": AlertKind(
        "The machine's clock was moved.",
        "Deadlines and soaks keep their length.",
        "Mend time synchronisation.",
    ),
    "disk_low": AlertKind(
        "There is little room left for the database or its files.",
        "No plan starts and no batch begins; rollbacks go on.",
        "Make room.",
    ),
    "trail_broken": AlertKind(
        "The trail was checked and does not hold together.",
        "Every page says so; plans go on.",
        "Keep a copy of the database, run ./console manage audit_verify, and find out why.",
    ),
    "audit_anchor_failed": AlertKind(
        "Checkpoints of the trail cannot be written outside the database.",
        "Tries again.",
        "Mend the folder or the receiver that the alert names.",
    ),
}


def to_do(kind: str) -> str:
    """Return what a person does about an alert; nothing for a kind of an older version."""
    known = ALERT_KINDS.get(kind)
    return known.to_do if known is not None else ""
