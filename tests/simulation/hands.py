"""The hands in the simulator: they take tasks from the real queue's table and do them."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from batches import tasks
from batches.effects.loop import EffectLoop
from tests.simulation.simulated_machine import SimulatedMachine
from tests.simulation.virtual_loop import Process

POLL_SECONDS = 5.0


class Hands:
    """One cluster of one worker; delivers late, and sometimes twice, as the scenario says."""

    def __init__(
        self, process: Process, machine: SimulatedMachine, effects: EffectLoop, scenario: Any
    ) -> None:
        self.process = process
        self._machine = machine
        self._effects = effects
        self._scenario = scenario
        self._told = machine.flag()

    def hint(self) -> None:
        """Say that a task was enqueued."""
        self._told.set()

    def work(self) -> None:
        """Take one task after another."""
        dice = self._scenario.dice
        while True:
            self._told.wait(POLL_SECONDS)
            self._told.clear()
            while (task := self._take()) is not None:
                row, arguments = task
                self._machine.sleep(dice.random() * self._scenario.hands_delay)
                for _time in range(1 + (dice.random() < self._scenario.deliver_twice)):
                    tasks.run_batch(arguments[0], effects=self._effects)
                OrmQ.objects.filter(pk=row).delete()

    def _take(self) -> tuple[int, tuple[Any, ...]] | None:
        """Claim a task as the broker does: by its lock."""
        now = timezone.now()
        waiting = OrmQ.objects.filter(key="effects", lock__lte=now)
        for row in waiting.order_by("lock", "pk")[:5]:
            lock = now + timedelta(days=7)
            if OrmQ.objects.filter(pk=row.pk, lock=row.lock).update(lock=lock) == 1:
                return row.pk, tuple(SignedPackage.loads(row.payload)["args"])
        return None
