"""Measure a policy's false rollbacks over this installation's history, and keep the result."""

from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from django.db import transaction
from django_q.tasks import async_task

from batches.configured import dictionary
from batches.evidence.rules import EvidenceTest, evidence_test
from batches.evidence.ruling import KEY
from batches.history.kpi_history import minutes_of
from batches.history.recording import MINUTE
from batches.history.rollout_history import Leg, Minute
from batches.history.rollups import points_of
from batches.models import KpiRollup, PlaceboRun
from batches.placebo.backtest import ALONE, Judges, Placebo, backtest
from batches.placebo.looks import OWN
from batches.placebo.past import KnownPast
from batches.replay.counterfactual import scaled
from batches.replay.course import rules_of
from batches.runtime import surroundings
from batches.sources.increments import max_age
from plans.counted_words import counted
from plans.drafting.drafting import latest_policy
from plans.models import Policy, User
from plans.people.permissions import may, require
from plans.policies.policy import UpgradePolicy
from plans.policies.policy_words import span
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput, NotFound, Refused
from plans.trail import events

MOST_TENANTS = 400
"""Of a larger fleet so many are drawn: memory and time, and a share of them is the same share."""
FEWEST_MINUTES = 60
USUAL_ROLLOUTS = 200
MOST_ROLLOUTS = 10_000
TASK = "batches.tasks.measure_placebo"
PATIENCE_SECONDS = 120.0
"""How long the paperwork measures at most, so that reports do not wait for it."""


class TooLittleHistory(Refused):
    """There is not enough recorded to lay a rollout over it."""

    default_code = "too_little_history"


@dataclass(frozen=True, slots=True)
class _History:
    """The recorded minutes; `drawn`: the tenants that are in them, of `tenants` in all."""

    minutes: list[Minute]
    tenants: int
    drawn: list[str]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was measured over what; what could not be, and what is to be known of it, in words."""

    found: Placebo
    history: _History
    left_out: list[str]
    notes: list[str]


def measure_placebo(
    *,
    policy: str,
    rollouts: int = USUAL_ROLLOUTS,
    seed: str = "",
    patience: float | None = None,
    by: User | None,
    now: datetime,
    via: str,
) -> PlaceboRun:
    """Lay rollouts of the newest text of a policy over history and keep how many went back.

    `patience`: after so many seconds it ends with the rollouts that it has. Raises NotFound,
    BadInput or TooLittleHistory.
    """
    row = _asked_for(policy, rollouts, by)
    written = parse_policy_file(row.text).policies[row.name]
    policy_here = scaled(written)
    rules, left_out = rules_of(policy_here)
    test = _evidence_test(policy_here, left_out)
    if not rules and test is None:
        raise Refused(
            f"Policy {row.name} has nothing that could take a plan back by itself"
            f" and could be measured{': ' + '; '.join(left_out) if left_out else ''}.",
            code="nothing_judges",
        )
    seed = seed or _seed(row, now)
    dice = Random(seed)  # noqa: S311 - repeatable draws, no secret
    kpis = {rule.definition.name for rule in rules} | set(test.kpis if test is not None else ())
    history = _history(sorted(kpis), dice, now)
    own = {rule.definition.name for rule in rules if rule.guardrail.against == OWN}
    past = KnownPast(test, own, history.drawn, until=now)
    every = policy_here.limits.look_seconds
    began = surroundings.here().monotonic()
    found = backtest(
        history.minutes,
        Judges(rules, every, max_age(every), test, past),
        _legs(policy_here),
        rollouts=rollouts,
        dice=dice,
        go_on=lambda: patience is None or surroundings.here().monotonic() - began < patience,
    )
    notes = _notes(found, history, past)
    return _kept(row, written, _Outcome(found, history, left_out, notes), seed, by, now, via)


def ask_placebo(*, policy: str, rollouts: int, by: User, now: datetime) -> str:
    """Let the paperwork measure a policy; return the seed by which the result is known.

    Raises what measure_placebo raises, as far as it can be known at once.
    """
    row = _asked_for(policy, rollouts, by)
    written = parse_policy_file(row.text).policies[row.name]
    rules, _unreadable = rules_of(written)
    tested = written.evidence.kpis if written.evidence is not None else ()
    # Recorded is by the dictionary's own names, whatever alias a policy uses.
    kpis = {rule.definition.name for rule in rules} | set(map(dictionary().name_of, tested))
    there = KpiRollup.objects.filter(kpi__in=kpis, step=MINUTE).order_by().values("at")
    if (minutes := there.distinct().count()) < FEWEST_MINUTES:
        raise TooLittleHistory(
            f"{counted(minutes, 'minute was', 'minutes were')} recorded of"
            f" {', '.join(sorted(kpis)) or 'any Kpi'}; a"
            f" backtest needs {FEWEST_MINUTES}. One minute is recorded each minute."
        )
    seed = _seed(row, now)
    async_task(TASK, row.name, rollouts, seed, str(by.pk), cluster="paperwork")
    return seed


def may_measure(user: User) -> bool:
    """Tell whether the person may have a policy measured: who writes policies or plans."""
    return may(user, "manage_policies") or may(user, "draft")


def _asked_for(policy: str, rollouts: int, by: User | None) -> Policy:
    if by is not None and not may_measure(by):
        require(by, "draft")
    if not 1 <= rollouts <= MOST_ROLLOUTS:
        raise BadInput([f"rollouts: write a number from 1 to {MOST_ROLLOUTS}"])
    row = latest_policy(policy)
    if row is None:
        raise NotFound(f"There is no policy '{policy}'.")
    return row


def _seed(row: Policy, now: datetime) -> str:
    return f"{row.digest[:12]}-{now:%Y%m%d%H%M%S%f}"


def _legs(policy: UpgradePolicy) -> list[Leg]:
    """Return the batches that soak; a hold-back is upgraded after the last soak."""
    here = 1 - policy.selection.hold_back_percentage / 100
    return [Leg(here * batch.percentage / 100, batch.soak_seconds) for batch in policy.batches]


def _evidence_test(policy: UpgradePolicy, left_out: list[str]) -> EvidenceTest | None:
    """Return the policy's test as the watch has it; what it cannot test joins `left_out`."""
    test = evidence_test(policy, dictionary())
    if test is None:
        return None
    left_out += test.unusable.values()
    return test if test.kpis else None


def _history(kpis: list[str], dice: Random, now: datetime) -> _History:
    """Return the recorded minutes of these Kpis, of as many tenants as can be judged."""
    by_minute: dict[datetime, dict[str, Any]] = {}
    drawn: list[str] = []
    tenants = 0
    for kpi in kpis:
        recorded = minutes_of(kpi, until=now)
        names = sorted({key for _at, seen in recorded for cells in seen.values() for key in cells})
        tenants = max(tenants, len(names))
        if not drawn:
            drawn = dice.sample(names, min(len(names), MOST_TENANTS))
        for at, seen in recorded:
            by_minute.setdefault(at, {})[kpi] = points_of(seen, drawn)
    minutes = [Minute(at, by_minute[at]) for at in sorted(by_minute)]
    if len(minutes) < FEWEST_MINUTES or len(drawn) < 2:
        raise TooLittleHistory(
            f"{counted(len(minutes), 'minute')} of {counted(len(drawn), 'tenant')}"
            f" {'was' if len(minutes) == 1 else 'were'} recorded of {', '.join(kpis)};"
            f" a backtest needs {FEWEST_MINUTES} minutes and two tenants. One minute is recorded"
            " each minute."
        )
    return _History(minutes, tenants, drawn)


def _notes(found: Placebo, history: _History, past: KnownPast) -> list[str]:
    """Return what history could not tell, or not as it will be, in words."""
    notes = [
        f"{one.key} could say nothing in {one.unjudged} of {found.rollouts} rollouts: too little"
        " was recorded before them, or no traffic in them"
        for one in found.fired.values()
        if one.unjudged
    ]
    if found.only_warned:
        notes.append(
            f"evidence reached 100 % in {found.only_warned} rollouts and would only have warned:"
            " the tenants' history is too short"
        )
    if past.same_hours:
        notes.append(
            f"in {past.same_hours} of {found.rollouts} rollouts the evidence test was calibrated by"
            " the hours over which they were laid, none are recorded from before them"
        )
    if any(one.scope == "tenant" for one in found.fired.values()):
        notes.append(f"of each rollout up to {ALONE} tenants are judged each by itself")
    if len(history.drawn) < history.tenants:
        notes.append(f"{len(history.drawn)} of {counted(history.tenants, 'tenant')} were drawn")
    return notes


def _kept(
    row: Policy,
    policy: UpgradePolicy,
    measured: _Outcome,
    seed: str,
    by: User | None,
    now: datetime,
    via: str,
) -> PlaceboRun:
    found, history = measured.found, measured.history
    sentence = _sentence(policy, found, history)
    if measured.left_out:
        sentence += f" Not measured: {'; '.join(measured.left_out)}."
    result = {
        "rate_percent": 100 * found.rate,
        "upper_percent": 100 * found.upper,
        "asked_percent": policy.evidence.max_false_rollback_risk if policy.evidence else None,
        "looks": found.looks,
        "minutes": len(history.minutes),
        "from": history.minutes[0].at.isoformat(),
        "to": history.minutes[-1].at.isoformat(),
        "tenants": history.tenants,
        "drawn": len(history.drawn),
        "not_measured": measured.left_out,
        "notes": measured.notes,
        "only_warned": found.only_warned,
        "judges": [
            {
                "key": one.key,
                "kpi": one.kpi,
                "action": one.action,
                "dry_run": one.dry_run,
                "rollouts": one.rollouts,
                "evidence": one.key == KEY,
                "scope": one.scope,
                "tenants": one.tenants,
                "judged": one.judged,
            }
            for one in found.fired.values()
        ],
    }
    with transaction.atomic():
        run = PlaceboRun.objects.create(
            policy=row,
            at=now,
            by=by,
            seed=seed,
            rollouts=found.rollouts,
            rolled_back=found.rolled_back,
            sentence=sentence,
            result=result,
        )
        events.record(
            stream=None,
            kind="placebo_measured",
            sentence=f"Policy {row.name}: {sentence}",
            actor=by,
            via=via,
            now=now,
            payload={
                "policy": row.name,
                "digest": row.digest,
                "rollouts": found.rollouts,
                "rolled_back": found.rolled_back,
                "seed": seed,
            },
        )
    return run


def _sentence(policy: UpgradePolicy, found: Placebo, history: _History) -> str:
    said = (
        f"{found.rolled_back} of {found.rollouts} rollouts with nothing released would have been"
        f" rolled back, so at most {100 * found.upper:.2g} % (95 % confidence)"
    )
    if policy.evidence is not None:
        said += f"; asked of evidence is {policy.evidence.max_false_rollback_risk:g} %"
    alone = [
        one
        for one in found.fired.values()
        if one.scope == "tenant" and one.action == "rollback" and not one.dry_run
    ]
    if judged := sum(one.judged for one in alone):
        said += (
            f"; {sum(one.tenants for one in alone):,} of {judged:,} tenants that were judged by"
            " themselves would have been taken back alone"
        )
    whole = span(60 * len(history.minutes))
    return f"{said}. Laid over {whole} of {counted(len(history.drawn), 'tenant')}."


def newest_placebo(policy: Policy) -> PlaceboRun | None:
    """Return the newest backtest of exactly this text of the policy."""
    return PlaceboRun.objects.filter(policy=policy).order_by("-at", "-pk").first()
