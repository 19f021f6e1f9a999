"""`powerx push`: send metrics from a script or a pipeline to a source of kind push."""

import json
import math
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from upgradeconsole.cli.client import Console, Refusal
from upgradeconsole.cli.console_options import BadUse, Output, OutputAs, open_console
from upgradeconsole.cli.exit_codes import ExitCode
from upgradeconsole.cli.render import print_json, printable, terminal

MOST_SAMPLES = 2_000
"""What the console takes at once; more go in several batches."""
MOST_WAITS = 10
"""How often it waits for room before it gives up."""


class Kind(StrEnum):
    """What a value is."""

    gauge = "gauge"
    counter = "counter"


def push(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="JSON: a list of samples, or {source, samples}; - reads stdin."
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="One sample: what it is called.")] = None,
    value: Annotated[float | None, typer.Option(help="One sample: its value.")] = None,
    kind: Annotated[Kind, typer.Option(help="One sample: gauge or counter.")] = Kind.gauge,
    label: Annotated[
        list[str] | None, typer.Option(help="One sample: NAME=VALUE, as tenant=acorn; repeatable.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="One sample: RFC 3339; now by default.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Where the dictionary has several sources of kind push.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same samples again change nothing.")
    ] = None,
    output: OutputAs = Output.table,
) -> int:
    """Push samples; exit 5 when some were not taken, and each is named."""
    if (file is None) == (metric is None):
        raise BadUse(
            "name a FILE with samples, or one sample by --metric NAME --value NUMBER"
            " --label tenant=KEY"
        )
    if file is not None:
        if value is not None or label or at is not None:
            raise BadUse("--value, --label and --at are for one sample by --metric, not for a FILE")
        named, samples = _read(file)
    else:
        named, samples = None, [_sample(str(metric), value, kind, label or (), at)]
    told = _push(open_console(), samples, source or named, key or uuid.uuid4().hex)
    if output is Output.json:
        print_json(terminal(), told)
    else:
        _show(told)
    return ExitCode.BAD_INPUT if told["refused_total"] else ExitCode.COMPLETED


def add_to(group: typer.Typer) -> None:
    """Give a group of commands this one."""
    group.command()(push)


def _sample(
    metric: str, value: float | None, kind: Kind, labels: Sequence[str], at: str | None
) -> dict[str, Any]:
    if value is None or not math.isfinite(value):
        raise BadUse("--value: write a number")
    sample: dict[str, Any] = {"metric": metric, "kind": kind.value, "value": value}
    pairs = [(name.strip(), said.strip()) for name, _eq, said in (o.partition("=") for o in labels)]
    for name, said in pairs:
        if not name or not said:
            raise BadUse(f"--label {name or said!r} is not NAME=VALUE, as tenant=acorn")
    if pairs:
        sample["labels"] = dict(pairs)
    if at is not None:
        sample["at"] = at
    return sample


def _read(name: str) -> tuple[str | None, list[Any]]:
    """Return the source that a file names, if any, and its samples."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
        document = json.loads(text)
    except OSError as error:
        raise BadUse(f"{name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadUse(f"{name} is not JSON: {error}") from error
    if isinstance(document, list):
        return None, document
    if isinstance(document, dict) and isinstance(document.get("samples"), list):
        if more := sorted(document.keys() - {"source", "samples"}):
            raise BadUse(f"{name} has {', '.join(more)}; a batch has source and samples only")
        return document.get("source"), document["samples"]
    raise BadUse(f"{name} holds no samples: write a list of them, or {{source, samples}}")


def _push(console: Console, samples: Sequence[Any], source: str | None, key: str) -> dict[str, Any]:
    """Push all batches, each with a key of its own; return their answers as one."""
    told: dict[str, Any] = {"source": source, "accepted": 0, "refused": [], "refused_total": 0}
    for begin, batch in _batches(samples):
        body: dict[str, Any] = {"samples": batch}
        if source is not None:
            body["source"] = source
        answer = _patiently(console, body, f"{key}-{begin}" if begin else key)
        told["source"] = answer["source"]
        told["accepted"] += answer["accepted"]
        told["refused_total"] += answer["refused_total"]
        told["refused"] += [one | {"index": one["index"] + begin} for one in answer["refused"]]
    return told


def _batches(samples: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    # An empty batch is sent as well: the console says what is wrong with it.
    for begin in range(0, max(1, len(samples)), MOST_SAMPLES):
        yield begin, samples[begin : begin + MOST_SAMPLES]


def _patiently(console: Console, body: Mapping[str, Any], key: str) -> Any:
    """Push one batch; wait where the console says when there is room."""
    for _turn in range(MOST_WAITS):
        try:
            return console.post("/api/v1/metrics/", body, more={"Idempotency-Key": key})
        except Refusal as refusal:
            if refusal.status != 429 or refusal.wait is None:
                raise
            console.sleep(refusal.wait)
    return console.post("/api/v1/metrics/", body, more={"Idempotency-Key": key})


def _show(told: Mapping[str, Any]) -> None:
    out = terminal()
    out.print(f"{told['accepted']} taken by {printable(told['source'])}", soft_wrap=True)
    for one in told["refused"]:
        said = f"sample {one['index']}: {one['code']}: {one['detail']}"
        out.print(f"  - {printable(said)}", soft_wrap=True)
    if told["refused_total"] > len(told["refused"]):
        out.print(f"  - {told['refused_total'] - len(told['refused'])} more were not taken")
