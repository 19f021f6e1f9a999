"""What each act of a person would do right now, in words and numbers, before it is confirmed.

The page asks here, and so does everybody who wants to know whether an act is possible; the use
case decides again under its lock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batches.models import Batch, TenantUpgrade
from batches.rollback.rollback import need_a_way_back, newest_batch
from batches.rollout import leaving_out
from batches.rollout.readiness import quote_for
from batches.rollout.retrying import chosen_for_retry
from batches.rollout.who_was_first import insist
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan
from plans.refusal import BadInput, NotFound, Refused

NAMES_SHOWN = 200


@dataclass(frozen=True, slots=True)
class AskedFor:
    """Which batch or tenants an act is about."""

    batch: int | None = None
    tenants: tuple[str, ...] = ()

    def need_batch(self) -> int:
        """Return the batch; BadInput when none was named."""
        if self.batch is None:
            raise BadInput(["batch: say which"])
        return self.batch


@dataclass(frozen=True, slots=True)
class Question:
    """One question before an act: what it does, to whom, and whether a reason is needed."""

    act: str
    title: str
    sentence: str
    confirm: str
    tenants: Sequence[str] = ()
    consequences: Sequence[str] = ()
    tone: str = "primary"
    reason: str = "required"
    hidden: Sequence[tuple[str, str]] = field(default_factory=tuple)

    @property
    def shown(self) -> Sequence[str]:
        """Return the tenants that are named."""
        return self.tenants[:NAMES_SHOWN]

    @property
    def more(self) -> int:
        """Return how many are not named."""
        return max(0, len(self.tenants) - NAMES_SHOWN)


def count(n: int) -> str:
    """Return how many tenants, in words."""
    return counted(n, "tenant")


def _do(n: int, one: str, many: str) -> str:
    """Return so many tenants with their verb: '1 tenant goes', '2 tenants go'."""
    return f"{count(n)} {one if n == 1 else many}"


def _hidden(asked: AskedFor, keys: Sequence[str] = ()) -> list[tuple[str, str]]:
    chosen = [("tenant", key) for key in keys]
    return chosen + ([("batch", str(asked.batch))] if asked.batch is not None else [])


def _keys(rows: Any) -> list[str]:
    return list(rows.order_by("batch__number", "position").values_list("tenant_key", flat=True))


def _retry(plan: Plan, asked: AskedFor) -> Question:
    insist(plan, "another try")
    chosen = chosen_for_retry(plan, tenant_keys=asked.tenants, batch_number=asked.batch)
    keys = chosen.keys
    said = []
    for rows in chosen.by_batch.values():
        batch = rows[0].batch
        if str(batch.state) in {"soaking", "held"}:
            said.append(f"Batch {batch.number} goes on at once and soaks anew.")
        elif str(batch.state) != "deploying":
            said.append(
                f"Batch {batch.number} begins again as soon as no other batch is under way,"
                " and soaks anew."
            )
    if str(plan.state) == "paused":
        said.append("The plan stays paused until it is resumed.")
    return Question(
        act="retry",
        title=f"Call {count(len(keys))} again?",
        sentence="The new version is installed once more, as a new attempt; the other tenants"
        " are not touched.",
        confirm="Call again",
        tenants=keys,
        consequences=said,
        reason="optional",
        hidden=_hidden(asked, asked.tenants),
    )


def _exclude(plan: Plan, asked: AskedFor) -> Question:
    insist(plan, "leaving tenants out")
    keys = _keys(leaving_out.excludable(plan, asked.tenants))
    return Question(
        act="exclude",
        title=f"Leave {count(len(keys))} out?",
        sentence="What is left out stays on the version that it has, and this plan does not call"
        " it any more. Other plans may.",
        confirm="Leave out",
        tenants=keys,
        consequences=[
            "Whoever failed before counts against the success rate; whoever was never called does"
            " not."
        ],
        hidden=_hidden(AskedFor(), keys),
    )


def _waiting(plan: Plan, number: int) -> tuple[Batch, list[str]]:
    batch = Batch.objects.filter(plan=plan, number=number).first()
    if batch is None:
        raise NotFound(f"This plan has no batch {number}.")
    if str(batch.state) != "pending":
        label = batch.lifecycle.states[str(batch.state)].lower()
        raise Refused(f"Batch {number} is {label}; only a batch that waits can be skipped.")
    return batch, _keys(TenantUpgrade.objects.filter(batch=batch, state="pending"))


def _skip(plan: Plan, asked: AskedFor) -> Question:
    insist(plan, "skipping a batch")
    batch, keys = _waiting(plan, asked.need_batch())
    return Question(
        act="skip",
        title=f"Skip batch {batch.number}, {batch.name}?",
        sentence=f"{count(len(keys))} will not be upgraded by this plan, and the plan"
        " goes on with the next batch.",
        confirm="Skip it",
        tenants=keys,
        consequences=["You can bring the batch back while the plan runs."],
        hidden=_hidden(asked),
    )


def _unskip(plan: Plan, asked: AskedFor) -> Question:
    insist(plan, "bringing a batch back")
    number = asked.need_batch()
    batch = Batch.objects.filter(plan=plan, number=number).first()
    if batch is None:
        raise NotFound(f"This plan has no batch {number}.")
    keys = _keys(leaving_out.skipped_with(batch))
    if str(batch.state) != "skipped" or not keys:
        raise Refused(f"Batch {number} is not skipped, or has nobody to call.", code="not_skipped")
    return Question(
        act="unskip",
        title=f"Bring batch {batch.number}, {batch.name}, back?",
        sentence=f"{count(len(keys))} will be upgraded after all, in the batch's own place.",
        confirm="Bring it back",
        tenants=keys,
        reason="optional",
        hidden=_hidden(asked),
    )


def _jump(plan: Plan, asked: AskedFor) -> Question:
    insist(plan, "jumping to a batch")
    batch, own = _waiting(plan, asked.need_batch())
    before = Batch.objects.filter(plan=plan, state="pending", number__lt=batch.number)
    numbers = list(before.order_by("number").values_list("number", flat=True))
    if not numbers:
        raise Refused(f"Batch {batch.number} comes next already.", code="already_next")
    keys = _keys(TenantUpgrade.objects.filter(batch__in=before, state="pending"))
    touched = TenantUpgrade.objects.filter(plan=plan).to_restore().count()
    quote = quote_for(
        deployer=plan.deployer,
        policy=policy_of(current_revision(plan)),
        touched=touched + len(own),
        plan=plan,
    )
    return Question(
        act="jump",
        title=f"Jump to batch {batch.number}, {batch.name}?",
        sentence=f"{'Batch' if len(numbers) == 1 else 'Batches'} {', '.join(map(str, numbers))}"
        f" with {count(len(keys))} {'is' if len(numbers) == 1 else 'are'} skipped;"
        f" batch {batch.number} with {count(len(own))} comes next.",
        confirm=f"Jump to batch {batch.number}",
        tenants=keys,
        consequences=[
            "Its gate and windows hold as ever; skipped batches can be brought back.",
            f"{quote.sentence}.",
        ],
        hidden=_hidden(asked),
    )


def _skip_rest(plan: Plan, asked: AskedFor) -> Question:
    insist(plan, "skipping the rest")
    keys = _keys(leaving_out.still_to_come(plan))
    kept = TenantUpgrade.objects.filter(plan=plan, state__in=("upgraded", "upgrading")).count()
    said = ["The batch under way soaks to its end and may still be taken back; then the plan ends."]
    if str(plan.state) == "paused":
        clock = ", or it is taken back as after any pause" if plan.resume_by else ""
        said.append(f"The plan stays paused: resume it{clock}.")
    return Question(
        act="skip-rest",
        title="Upgrade nobody else?",
        sentence=f"{_do(kept, 'keeps', 'keep')} the new version; {count(len(keys))} will not be"
        " called any more. Nothing is taken back.",
        confirm="Upgrade nobody else",
        tenants=keys,
        consequences=said,
    )


def _rollback(plan: Plan, asked: AskedFor) -> Question:
    need_a_way_back(plan)
    insist(plan, "a rollback", states=plan.lifecycle.sources("begin_rollback"))
    rows = TenantUpgrade.objects.filter(plan=plan).to_restore()
    if asked.tenants:
        rows, what = rows.filter(tenant_key__in=asked.tenants), "tenants"
    else:
        newest = newest_batch(plan)
        if newest is None:
            raise Refused("No batch has begun.", code="nothing_to_take_back")
        rows, what = rows.filter(batch=newest), f"batch {newest.number}, {newest.name}"
    keys = _keys(rows)
    if not keys:
        raise Refused("Nothing of it was touched, or it is back already.", code="nothing_touched")
    quote = quote_for(
        deployer=plan.deployer,
        policy=policy_of(current_revision(plan)),
        touched=len(keys),
        plan=plan,
    )
    others = len(set(asked.tenants) - set(keys))
    said = ["Nothing new starts; the plan then waits, paused, for a person to choose."]
    if others:
        said.append(f"Of those chosen, {_do(others, 'runs', 'run')} no new version.")
    title = f"Roll {count(len(keys))} back?" if what == "tenants" else f"Roll {what}, back?"
    return Question(
        act="rollback",
        title=title,
        sentence=f"{_do(len(keys), 'goes', 'go')} back to the version before, within"
        f" {quote.seconds:.0f} s in the worst case, and the version is read back.",
        confirm="Roll back now",
        tenants=keys,
        consequences=said,
        tone="danger",
        reason="optional",
        hidden=_hidden(AskedFor(), keys) if asked.tenants else [("scope", "batch")],
    )


QUESTIONS: Mapping[str, Callable[[Plan, AskedFor], Question]] = {
    "retry": _retry,
    "exclude": _exclude,
    "skip": _skip,
    "unskip": _unskip,
    "jump": _jump,
    "skip-rest": _skip_rest,
    "rollback": _rollback,
}
ACTION_OF = {"unskip": "skip", "jump": "skip", "skip-rest": "skip"}
"""Which permission an act needs, where it has no name of its own."""


def question(plan: Plan, act: str, asked: AskedFor) -> Question:
    """Return the question before an act; Refused when it is not possible now."""
    if act not in QUESTIONS:
        raise NotFound("There is no such act.")
    return QUESTIONS[act](plan, asked)
