"""A period of the trail proves itself: between its checkpoints nothing changed or is missing."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import transaction

from plans.console_keys import public_keys
from plans.models import Checkpoint
from plans.trail import events
from plans.trail.checkpoints import take_checkpoint
from plans.trail.export import Excerpt, json_lines
from reports.verify_trail import (
    BAD_SIGNATURE,
    BROKEN,
    FORKED,
    HOLDS,
    UNCHECKED,
    ZERO,
    Outcome,
    chained,
    verify_files,
)
from tests.builders import a_draft, an_approved
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db
BEGAN = now() - timedelta(hours=3)
SINCE, UNTIL = BEGAN + timedelta(minutes=12), BEGAN + timedelta(minutes=23)
Line = dict[str, Any]


@pytest.fixture
def stream() -> str:
    """Forty minutes of two streams, with a checkpoint each five; return the plan's."""
    with time_machine.travel(BEGAN - timedelta(hours=1), tick=False):
        scene = Scene()
        plan = a_draft(scene, external_id="pay-1")
    for minute in range(40):
        at = BEGAN + timedelta(minutes=minute)
        with transaction.atomic():
            for about in (None, plan):
                events.record(
                    stream=about, kind="told", sentence=f"Minute {minute}.", actor=scene.mara,
                    via="api", now=at,
                )  # fmt: skip
        if minute % 5 == 0:
            assert take_checkpoint(why="test", now=at + timedelta(seconds=30)) is not None
    return plan.stream_key


def lines(stream: str = "", *, since: Any = SINCE, until: Any = UNTIL) -> list[Line]:
    wanted = Excerpt(stream, since, until)
    return [json.loads(line) for line in json_lines(wanted, instance="here", now=now())]


def verified(told: list[Line], tmp_path: Path, **more: Any) -> Outcome:
    file = tmp_path / "trail.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in told))
    keys = public_keys("checkpoint") | public_keys("grant")
    return verify_files([file], [], more.get("keys", keys))


def minutes(told: list[Line]) -> list[int]:
    sentences = {line["event"]["sentence"] for line in told if "event" in line}
    return sorted(int(text[7:-1]) for text in sentences if text.startswith("Minute "))


@pytest.mark.parametrize("one", [False, True])
def test_a_period_holds_between_the_checkpoints_around_it(stream, tmp_path, one):
    told = lines(stream if one else "")
    found = verified(told, tmp_path)
    assert (found.exit, found.problems) == (HOLDS, [])
    # Checkpoint 3 was taken in minute 10, number 6 in minute 25.
    assert told[0]["trail"]["between"] == [3, 6]
    assert minutes(told) == list(range(11, 26))
    assert f"an excerpt from {BEGAN + timedelta(minutes=10, seconds=30):%Y-%m-%d %H:%M}" in (
        found.sentence
    )
    assert "(checkpoint 3) to" in found.sentence
    assert "(checkpoint 6): " in found.sentence


def test_open_ends_reach_to_the_first_event_and_the_newest(stream, tmp_path):
    early = lines(since=BEGAN - timedelta(days=90))
    found = verified(early, tmp_path)
    assert "an excerpt from the first event to" in found.sentence
    late = lines(since=SINCE, until=None)
    assert minutes(late) == list(range(11, 40))
    assert minutes(lines(until=UNTIL, since=None)) == list(range(26))
    assert verified(lines(until=UNTIL, since=None), tmp_path).exit == HOLDS


def test_a_time_that_no_checkpoint_has_seen_is_not_proved(stream, tmp_path):
    for wanted in (lines(until=None), lines(stream, until=now())):
        found = verified(wanted, tmp_path)
        assert found.exit == UNCHECKED
        assert "vouches for what came after" in found.sentence
    Checkpoint.objects.all().delete()
    assert verified(lines(), tmp_path).exit == UNCHECKED
    assert verified(lines(stream), tmp_path).exit == UNCHECKED


def rechained(told: list[Line], change: Callable[[Line], None]) -> list[Line]:
    """Return the lines as somebody without the key can make them: changed, and every hash fits."""
    made, heads = [], dict[str, str]()
    for line in json.loads(json.dumps(told)):
        if "event" in line:
            change(line["event"])
            key = line["event"]["stream"]
            line["prev_hash"] = heads.get(key, line["prev_hash"])
            line["hash"] = heads[key] = chained(line["prev_hash"], line["event"])
        made.append(line)
    return made


@pytest.mark.parametrize("one", [False, True])
def test_a_forged_period_fails(stream, tmp_path, one):
    told = lines(stream if one else "")
    at = [place for place, line in enumerate(told) if "event" in line]
    for place in at:
        without = [line for number, line in enumerate(told) if number != place]
        assert verified(without, tmp_path).exit in {BROKEN, FORKED}, told[place]
    for place in (at[0], at[-1]):
        changed = json.loads(json.dumps(told))
        changed[place]["event"]["sentence"] = "Nothing."
        assert verified(changed, tmp_path).exit == BROKEN

    def lies(event: Line) -> None:
        event["sentence"] = event["sentence"].replace("Minute 20.", "Nothing.")

    assert verified(rechained(told, lies), tmp_path).exit == FORKED


@pytest.mark.parametrize("one", [False, True])
def test_a_period_without_its_edges_is_found(stream, tmp_path, one):
    told = lines(stream if one else "")
    no_begin = [line for line in told if line.get("edge") != "before"]
    assert verified(no_begin, tmp_path).exit in {BROKEN, FORKED, BAD_SIGNATURE}
    first = min(place for place, line in enumerate(told) if "event" in line)
    shortened = [line for place, line in enumerate(told) if place not in {first, first + 1}]
    assert verified(shortened, tmp_path).exit in {BROKEN, FORKED}
    no_proof = [line for line in told if "checkpoint" not in line]
    assert verified(no_proof, tmp_path).exit in {BROKEN, BAD_SIGNATURE}
    moved = json.loads(json.dumps(told))
    edge = next(line for line in moved if line.get("edge") == "before")
    edge.get("proof", edge.get("heads"))[("hash" if one else stream)] = ZERO if one else [1, ZERO]
    assert verified(moved, tmp_path).exit in {BROKEN, BAD_SIGNATURE}


def test_a_later_edge_does_not_hide_that_the_period_began_before(stream, tmp_path):
    later = lines(since=SINCE + timedelta(minutes=6))
    later[0]["trail"]["since"] = lines()[0]["trail"]["since"]
    found = verified(later, tmp_path)
    assert (found.exit, "it begins at" in found.sentence) == (UNCHECKED, True)


def seq_at(told: list[Line], stream: str, minute: int) -> int:
    """Return the number of the stream's event of that minute."""
    told_of = [line["event"] for line in told if line.get("event", {}).get("stream") == stream]
    return next(one["seq"] for one in told_of if one["sentence"] == f"Minute {minute}.")


def without(told: list[Line], stream: str, numbers: range) -> list[Line]:
    return [
        line
        for line in told
        if "event" not in line
        or line["event"]["stream"] != stream
        or line["event"]["seq"] not in numbers
    ]


def test_an_edge_that_is_told_twice_hides_no_events(stream, tmp_path):
    """The first has the heads that were signed; the second says to begin further on."""
    told = lines()
    first, last = seq_at(told, stream, 11), seq_at(told, stream, 15)
    hashes = {line["event"]["seq"]: line["hash"] for line in told if "event" in line
              and line["event"]["stream"] == stream}  # fmt: skip
    edge = next(place for place, line in enumerate(told) if line.get("edge") == "before")
    again = json.loads(json.dumps(told[edge]))
    again["heads"][stream] = [last, hashes[last]]
    for whole in (True, False):
        told_twice = [*told[: edge + 1], again | {"whole": whole}, *told[edge + 1 :]]
        found = verified(without(told_twice, stream, range(first, last + 1)), tmp_path)
        assert found.exit in {BROKEN, BAD_SIGNATURE}, found.sentence


def test_a_proof_of_one_stream_does_not_move_the_end_of_all(stream, tmp_path):
    """Checkpoint 8 knows the system's events that are there, and the plan's that are not."""
    until = BEGAN + timedelta(minutes=39)
    told, of_one = lines(until=until), lines("system", until=until)
    assert told[0]["trail"]["between"] == [3, 8]
    later = [place for place, line in enumerate(told) if "checkpoint" in line][-2:]
    kept = [line for place, line in enumerate(told) if place not in later]
    last = seq_at(told, stream, 25)
    kept = without(kept, stream, range(last + 1, last + 99))
    moved = next(line for line in of_one if line.get("edge") == "after")
    found = verified([*kept, moved], tmp_path)
    assert "(checkpoint 8)" not in found.sentence
    assert found.exit == UNCHECKED, found.sentence


def test_a_plan_is_told_from_its_first_event_on(stream, tmp_path):
    """An export that is no period begins with the first event, whatever is left of it."""
    told = lines(stream, since=None, until=None)
    assert verified(told, tmp_path).exit == HOLDS
    cut = without(told, stream, range(1, seq_at(told, stream, 20)))
    assert verified(cut, tmp_path).exit == BROKEN
    dated = json.loads(json.dumps(cut))
    dated[0]["trail"]["since"] = f"{BEGAN:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert verified(dated, tmp_path).exit != HOLDS


def test_a_plan_is_told_with_its_approvals(tmp_path):
    scene = Scene()
    plan = an_approved(scene)
    assert take_checkpoint(why="test", now=now()) is not None
    told = lines(plan.stream_key, since=None, until=None)
    assert verified(told, tmp_path).exit == HOLDS
    found = verified([line for line in told if "grant" not in line], tmp_path)
    assert (found.exit, "signed approval" in found.sentence) == (BAD_SIGNATURE, True)


def test_to_when_a_whole_trail_reaches_is_said_by_what_is_signed(stream, tmp_path):
    """Whoever cuts the end off can write any time into the heading."""
    told = lines(since=None, until=None)
    cut = lines(since=None, until=BEGAN + timedelta(minutes=23))
    at = BEGAN + timedelta(minutes=26)
    cut[0]["trail"] = told[0]["trail"] | {"at": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"}
    of_one = [line for line in lines(stream, since=None, until=None) if "proof" in line]
    for file in (cut, [*cut, *of_one]):
        notes = verified(file, tmp_path).notes
        assert any("newest checkpoint in it is 6, of" in note for note in notes), notes
    hidden = without(told, stream, range(1, seq_at(told, stream, 20)))
    for line in hidden:
        if "checkpoint" in line:
            line["edge"] = "before"
    assert verified(hidden, tmp_path).exit == BROKEN
