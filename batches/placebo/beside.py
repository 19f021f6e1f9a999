"""What the newest placebo backtest says, for beside an evidence test that takes plans back."""

from dataclasses import dataclass
from typing import Any

from batches.models import PlaceboRun
from batches.placebo.backtest import upper_bound
from batches.placebo.runs import newest_placebo
from plans.drafting.drafting import current_revision, written_policy
from plans.models import Plan, PlanRevision, Policy
from plans.policies.policy import UpgradePolicy


@dataclass(frozen=True, slots=True)
class Beside:
    """It in words; `run` None: nobody has measured this text yet.

    `over`: more than was asked; `sure`: surely no more than that.
    """

    policy: str
    sentence: str
    run: PlaceboRun | None = None
    over: bool = False
    sure: bool = False


def beside_evidence(policy: UpgradePolicy, *, name: str, digest: str) -> Beside | None:
    """Return what stands beside the policy's evidence test, None where it takes nothing back.

    `name` and `digest` are those of the text from which the policy was read.
    """
    if policy.evidence is None or policy.evidence.action != "rollback":
        return None
    row = Policy.objects.filter(name=name, digest=digest).first()
    run = newest_placebo(row) if row is not None else None
    said = words_of(run) if run is not None else ""
    if run is None or not said:
        return Beside(
            name,
            "How often it would take a rollout back although nothing was released was not measured"
            f" for this text yet; measure it on the policy's page, or by: powerx placebo {name}"
            " --measure",
        )
    found, rollouts, asked = _counts(run)
    return Beside(
        name,
        said,
        run,
        over=100 * found > asked * rollouts,
        sure=100 * upper_bound(found, rollouts) <= asked,
    )


def beside_plan(plan: Plan) -> Beside | None:
    """Return what stands beside the evidence test of the plan's newest revision."""
    return beside_revision(current_revision(plan))


def beside_revision(revision: PlanRevision) -> Beside | None:
    """Return what stands beside the evidence test of a revision, for whoever decides about it."""
    policy = written_policy(revision)
    return beside_evidence(policy, name=revision.policy_name, digest=revision.policy_digest)


def words_of(run: PlaceboRun) -> str:
    """Return what a backtest says of the evidence test; empty where it takes nothing back."""
    if _evidence(run) is None:
        return ""
    found, rollouts, asked = _counts(run)
    share, most = 100 * found / max(1, rollouts), 100 * upper_bound(found, rollouts)
    warned = run.result.get("only_warned", 0)
    more = f"; {warned:,} more would only have warned, too little is known" if warned else ""
    return (
        f"With nothing released {found:,} of {rollouts:,} placebo rollouts over this fleet would"
        f" have been taken back by it: {share:.2g} %, at most {most:.2g} % (95 % confidence), asked"
        f" {asked:g} %{more}."
    )


def _evidence(run: PlaceboRun) -> dict[str, Any] | None:
    """Return what a backtest tells of an evidence test that takes plans back."""
    for judge in run.result["judges"]:
        if judge["evidence"] and judge["action"] == "rollback":
            return dict(judge)
    return None


def _counts(run: PlaceboRun) -> tuple[int, int, float]:
    """Return how many rollouts the test took back, of how many, and what was asked in %."""
    judge = _evidence(run) or {"rollouts": 0}
    found = judge["rollouts"] - run.result.get("only_warned", 0)
    return max(0, found), run.rollouts, run.result["asked_percent"] or 0.0
