"""What all worlds of a test process share: the database's first state, the cast, the files."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import time_machine
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.test import override_settings

from plans.console_keys import PURPOSES, signing_key
from plans.models import RoleBinding, Tenant
from plans.policies.keeping import save_policy_text
from plans.releases.registering import register_release
from tests.simulation.invariants import ask_afterwards, ask_during
from tests.simulation.known_past import record_past
from tests.simulation.operators import Cast
from tests.simulation.playing import play, seeded_entropy
from tests.simulation.policies import POLICIES
from tests.simulation.scenario import ONE_WAY, TENANTS, Scenario
from tests.simulation.scenarios import scenario_of
from tests.simulation.simulated_database import (
    Database,
    InMemory,
    in_place_of_the_real_one,
)
from tests.simulation.simulated_machine import BEGAN
from tests.simulation.world import World
from tests.web.api_scene import DICTIONARY_TEXT, Scene, now

DEPLOYERS = "deployers:\n  fleet: {kind: simulated, parallelism: 5, expected_seconds: 0.3}\n"


class Stage:
    """Plays worlds one after another, in memory unless there is another database for them."""

    def __init__(
        self, folder: Path, database: Database | None = None, world: type[World] = World
    ) -> None:
        (folder / "deployers.yaml").write_text(DEPLOYERS)
        (folder / "dictionary.json").write_text(DICTIONARY_TEXT)
        self._folder = folder
        self._database = database or InMemory()
        self._shared = self._database.shared
        self._world = world
        with self._set():
            call_command("migrate", verbosity=0)
            # The migrations asked for them before all were there.
            ContentType.objects.clear_cache()
            for purpose in PURPOSES:
                # Made at first use: the first world would go another way than all after it.
                signing_key(purpose)
            with time_machine.travel(BEGAN, tick=False), seeded_entropy(0):
                self._cast = _first_rows()
        self._database.keep()
        # What is here stays: the collector need not look at it again in every world.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)

    def play(self, scenario: Scenario | int) -> World:
        """Play a scenario, or that of a seed, to its end; return the world to be judged."""
        if isinstance(scenario, int):
            scenario = scenario_of(scenario)
        with self._set():
            self._database.begin()
            if scenario.known_past:
                record_past()
            world = self._world(scenario, self._shared, self._cast)
            world.on_commit.append(ask_during)
            play(world)
            ask_afterwards(world)
        return world

    def close(self) -> None:
        """Take the database down."""
        self._database.close()

    @contextmanager
    def _set(self) -> Iterator[None]:
        with (
            _content_types_of_its_own(),
            in_place_of_the_real_one(self._shared),
            override_settings(
                DEPLOYERS_FILE=self._folder / "deployers.yaml",
                DICTIONARY_FILE=self._folder / "dictionary.json",
                REPORTS_DIR=self._folder / "reports",
                DATA_DIR=self._folder,
                CONSOLE_KEYS_DIR=self._folder / "keys",
                AUDIT_ANCHOR_DIR=self._folder / "anchors",
                LOCAL_ALERTS_FILE=self._folder / "local-alerts.jsonl",
                DISK_RESERVE_MB=0,
                MIN_FREE_MB=0,
            ),
        ):
            yield


@contextmanager
def _content_types_of_its_own() -> Iterator[None]:
    """Forget the numbers of the process's other databases before, and those of this one after."""
    ContentType.objects.clear_cache()
    try:
        yield
    finally:
        ContentType.objects.clear_cache()


def _first_rows() -> Cast:
    scene = Scene()
    envelope = scene.envelope("pay", "1.6.0")
    register_release(envelope=envelope, by=None, now=now(), via="command")
    one_way = scene.envelope("pay", ONE_WAY)
    register_release(envelope=one_way, by=None, now=now(), via="command", irreversible=True)
    for text in POLICIES.values():
        save_policy_text(text=text, source="test", by=None, now=now(), via="command")
    # Olga may also break glass.
    RoleBinding.objects.create(user=scene.olga, kind=RoleBinding.CONSOLE, role="break_glass")
    for key in TENANTS:
        Tenant.objects.get_or_create(key=key)
    return Cast(scene.mara, scene.olga, scene.aram, scene.sona)
