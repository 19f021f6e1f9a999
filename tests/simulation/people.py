"""The people of a world: they draft plans, act on cues, and clear up at the end."""

import asyncio
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db import OperationalError

from plans.drafting import drafting
from plans.models import Plan
from plans.refusal import BadInput, Refused
from tests.simulation.feed import TrailEntry
from tests.simulation.operators import ACTS, Moment
from tests.simulation.scenario import ONE_WAY, Cue, PlanSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.world import World

SETTLING = ("settle_rolled_back", "settle_excluded", "retry")
PATIENCE = 40.0
"""How long people let a plan wait at the end before they take it back."""
RELEASES = 3
"""How often people let a held batch go on at the end before they take the plan back."""


class People:
    """Everybody who sends requests; each request is a process of its own, which may die."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.acted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.refusals: list[tuple[float, str, str]] = []
        self._heard: Counter[tuple[str, str]] = Counter()
        self._cues = list(world.scenario.cues)
        self.about_to_act = 0
        self._restored: list[str] = []
        self._released: Counter[int] = Counter()

    def hear(self, entry: TrailEntry) -> None:
        """Act on what the trail tells."""
        self._cue(entry, entry.kind)
        if entry.kind == "tenants_moved":
            moved = entry.payload["tenants"]
            back = [key for key, state in moved.items() if state == "rolled_back"]
            if back:
                self._restored = back
                self._cue(entry, "tenants_restored")

    def forget(self) -> None:
        """Act on nothing more."""
        self._cues.clear()

    def _cue(self, entry: TrailEntry, kind: str) -> None:
        self._heard[entry.stream, kind] += 1
        for number, spec in enumerate(self._world.scenario.plans):
            if spec.after_event == kind and number not in self._world.plans:
                self._world.plans[number] = None
                self._world.later(0.5, self.bring, number, spec)
        for cue in list(self._cues):
            plan = self._world.plans.get(cue.plan)
            if plan is None or entry.stream != f"plan:{plan}" or cue.event != kind:
                continue
            if self._heard[entry.stream, kind] >= cue.nth:
                self._cues.remove(cue)
                self.about_to_act += 1
                self._world.later(cue.delay, self._on_cue, cue)

    def _on_cue(self, cue: Cue) -> None:
        self.about_to_act -= 1
        act, _at, about = cue.act.partition("@")
        if act == "drift":
            self._drift()
        else:
            self.act(act, int(about) if about else cue.plan)

    def _drift(self) -> None:
        """Let somebody who is not the console install again what was just taken back."""
        if self._restored:
            self._world.fleet.drift(self._restored[0], "1.5.0")

    def act(self, name: str, number: int = 0) -> None:
        """Let somebody do something to a plan, in a request of its own."""
        plan_id = self._world.plans.get(number)
        if plan_id is not None:
            self._request(lambda: self._do(name, plan_id), name)

    def _request(self, work: "Callable[[], object]", name: str) -> None:
        process = self._world.process("web")

        def ended(done: "asyncio.Future[Any]") -> None:
            self._world.processes.remove(process)
            if not done.cancelled() and (error := done.exception()) is not None:
                self._world.problems.append(f"{name}: {type(error).__name__}: {error}")

        def ask() -> None:
            try:
                work()
                self.acted[name] += 1
            except (Refused, BadInput) as refused:
                self.refused[f"{name}:{getattr(refused, 'code', '')}"] += 1
                self.refusals.append((self._world.loop.time(), name, str(refused)))
            except OperationalError:
                self.refused[f"{name}:database"] += 1

        fiber = process.start(ask)
        self._world.loop.outside.run(fiber.done.add_done_callback, ended)

    def _do(self, name: str, plan_id: Any) -> None:
        plan = Plan.objects.select_related("plugin", "release").get(pk=plan_id)
        ACTS[name](Moment(self._world.cast, self._world.machine.now(), self._world.dice), plan)

    def bring(self, number: int, spec: PlanSpec) -> None:
        """Let a plan be drafted and led through its first acts."""

        def draft() -> None:
            plan = drafting.draft_plan(
                draft=drafting.PlanDraft(
                    "pay",
                    spec.version,
                    spec.policy,
                    "fleet",
                    drafting.TenantChoice(keys=spec.tenants),
                    f"pay-{number}",
                ),
                author=self._world.cast.mara,
                now=self._world.machine.now(),
                via="api",
            )
            self._drafted(number, plan.pk, spec)

        self._request(draft, "draft")
        self._world.later(3.0, self._bring_again, number, spec)

    def _bring_again(self, number: int, spec: PlanSpec) -> None:
        """Draft again, as a pipeline does whose request broke off, unless the plan is there."""
        if self._world.plans.get(number) is not None or self._world.over:
            return
        row = self._world.shared.raw.execute(
            "SELECT id FROM plans_plan WHERE external_id = ?", (f"pay-{number}",)
        ).fetchone()
        if row is None:
            self.bring(number, spec)
        else:
            self._drafted(number, uuid.UUID(row[0]), spec)

    def _drafted(self, number: int, plan_id: Any, spec: PlanSpec) -> None:
        self._world.plans[number] = plan_id
        for place, act in enumerate(spec.acts):
            self._world.later(0.2 + 0.3 * place, self.act, act, number)

    def clear_up(self) -> None:
        """Let people do what the state of each plan asks of them."""
        held = self._world.shared.raw.execute(
            "SELECT plan_id FROM batches_batch WHERE state = 'held'"
        ).fetchall()
        needs = {
            "draft": "cancel",
            "awaiting_approval": "cancel",
            "approved": "cancel",
            "needs_hand": self._world.dice.choice(SETTLING),
        }
        frozen = self._world.shared.raw.execute(
            "SELECT 1 FROM plans_freeze WHERE lifted_at IS NULL"
        ).fetchone()
        if frozen:
            self.act("lift")
        states = self._world.states()
        waits = self._world.feed.quiet_for() > PATIENCE
        for number, plan_id in self._world.plans.items():
            if plan_id is None:
                continue
            state = states[plan_id.hex]
            spec = self._world.scenario.plans[number]
            way_out = "stop_here" if spec.version == ONE_WAY else "roll_back"
            if state == "paused" or (state == "running" and waits):
                self.act(way_out, number)
            if state == "running" and (plan_id.hex,) in held:
                self._release(number, way_out)
            elif state == "running" and spec.policy == "manual":
                self.act("promote", number)
            elif state in needs:
                self.act(needs[state], number)

    def _release(self, number: int, way_out: str) -> None:
        """Let a held batch go on; not for ever: a clock that stays wrong holds it again."""
        self._released[number] += 1
        goes_on = way_out == "roll_back" and self._released[number] <= RELEASES
        self.act("release_hold" if goes_on else way_out, number)
