"""Print plans and events for people: a table on a terminal, one plain line per event in a log."""

import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console as Terminal
from rich.table import Table
from rich.text import Text

LOG_WIDTH = 160

# Icon and word and colour: the state never rests on the colour alone.
LOOKS = {
    "completed": ("✔", "green"),
    "upgraded": ("✔", "green"),
    "passed": ("✔", "green"),
    "running": ("▶", "cyan"),
    "deploying": ("▶", "cyan"),
    "soaking": ("◷", "cyan"),
    "paused": ("‖", "yellow"),
    "held": ("‖", "yellow"),
    "rolling_back": ("↺", "yellow"),
    "rolled_back": ("↺", "red"),
    "stopped": ("■", "yellow"),
    "needs_hand": ("⚠", "bold red"),
    "failed": ("✖", "red"),
    "rejected": ("✖", "red"),
    "expired": ("✖", "red"),
    "cancelled": ("✖", "red"),
}
QUIET = ("·", "default")


def terminal(*, stderr: bool = False) -> Terminal:
    """Return where to print; NO_COLOR and pipes are honoured, logs are never cut at 80."""
    out = Terminal(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = LOG_WIDTH
    return out


def piped(out: Terminal) -> bool:
    """Tell whether each line stays one; on a terminal a long one goes on at a word's beginning."""
    return not out.is_terminal


def printable(text: object) -> str:
    """Return text on one line without control characters: what a platform answered is not ours."""
    flat = " ".join(str(text).split())
    return "".join(c for c in flat if unicodedata.category(c) not in ("Cc", "Cf"))


def counted(number: int, noun: str) -> str:
    """Return "1 tenant", "2 tenants"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def moment(stamp: str) -> str:
    """Return day and time, in UTC, of an RFC 3339 stamp."""
    return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%MZ")


def clock(stamp: str) -> str:
    """Return the UTC time of day of an RFC 3339 stamp."""
    return datetime.fromisoformat(stamp).strftime("%H:%M:%SZ")


def state_text(state: str) -> Text:
    """Return a state with its icon and colour."""
    icon, style = LOOKS.get(state, QUIET)
    return Text(f"{icon} {printable(state).replace('_', ' ')}", style=style)


def print_json(out: Terminal, value: Any) -> None:
    """Print one JSON document on one line."""
    out.print(json.dumps(value, ensure_ascii=False), soft_wrap=True)


def print_event(out: Terminal, event: Mapping[str, Any]) -> None:
    """Print one event: time and sentence; one line in a log, beside the time on a terminal."""
    at, said = clock(event["at"]), printable(event["sentence"])
    if piped(out):
        out.print(f"{at}  {said}", soft_wrap=True)
        return
    beside = Table.grid(padding=(0, 2))
    beside.add_row(at, said)
    out.print(beside)


def print_plan(out: Terminal, plan: Mapping[str, Any]) -> None:
    """Print a plan: what, in which state, its batches, and what is possible now."""
    name = plan.get("external_id") or plan["plan"]
    out.print(
        Text.assemble(
            ("Plan ", "bold"),
            (printable(name), "bold"),
            f"   {printable(plan['plugin'])} to {printable(plan['to_version'])}   ",
            state_text(plan["state"]),
        ),
        soft_wrap=piped(out),
    )
    out.print(f"id {plan['plan']}   policy {printable(plan['policy'])}", soft_wrap=piped(out))
    for line in _warnings(plan):
        out.print(line, soft_wrap=piped(out))
    if plan.get("batches"):
        out.print(_batches(plan["batches"]))
    if plan.get("counts"):
        counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in plan["counts"].items())
        out.print(f"Tenants: {counts}", soft_wrap=piped(out))
    for line in _guardrails(plan):
        out.print(line, soft_wrap=piped(out))
    evidence = plan.get("evidence")
    if evidence:
        words = f"Evidence: {evidence['percent']:.0f} % ({printable(evidence['sentence'])})"
        bad = evidence["verdict"] == "breached"
        out.print(Text(words, style="bold red" if bad else ""), soft_wrap=piped(out))
    rollback = plan.get("rollback")
    if rollback:
        out.print(_rollback(rollback), soft_wrap=piped(out))
    if plan.get("possible"):
        out.print(f"Possible now: {', '.join(plan['possible'])}", soft_wrap=piped(out))


_RULED = {"fine": "green", "breached": "bold red", "no_data": "yellow"}


def _guardrails(plan: Mapping[str, Any]) -> list[Text]:
    """Return what each guardrail that has looked says, and how far its next verdict is."""
    lines = []
    for rail in plan.get("guardrails") or ():
        if rail.get("updated_at") is None:
            continue
        verdict = printable(rail["verdict"]).replace("_", " ")
        text = Text.assemble(
            (verdict, _RULED.get(rail["verdict"], "")), f": {printable(rail['sentence'])}"
        )
        if rail.get("since"):
            text.append(f"; since {clock(rail['since'])}")
        if rail.get("next"):
            text.append(f". {printable(rail['next'])}.")
        lines.append(text)
    return lines


def _warnings(plan: Mapping[str, Any]) -> list[Text]:
    """Return what a reader must know first: no way back, what it waits for, what was overridden."""
    found = []
    if plan.get("irreversible"):
        text = "CANNOT BE TAKEN BACK: when something goes wrong it stops, nothing is restored"
        found.append(Text(text, style="bold red"))
    opening = plan.get("opening")
    if opening:
        found.append(Text(f"Window: {printable(opening['sentence'])}"))
    waiting = printable(plan.get("waiting_for") or "")
    if waiting and not (opening and waiting in printable(opening["sentence"])):
        found.append(Text(f"Waits: {waiting}", style="yellow"))
    found += [
        Text(f"STILL BROKEN, would stop it again at once: {printable(why)}", style="bold red")
        for why in plan.get("stops_again") or ()
    ]
    found += [
        Text(
            f"FREEZE OVERRIDDEN: '{printable(row['freeze'])}' by {printable(row['by'])}:"
            f" {printable(row['reason'])}",
            style="bold red",
        )
        for row in plan.get("overrides") or ()
    ]
    return found


def print_planned(out: Terminal, name: str, answer: Mapping[str, Any]) -> None:
    """Print what planning answered: batches, rollback quote and every problem."""
    out.print(
        Text.assemble(
            ("Plan ", "bold"), (printable(name), "bold"), "   ", state_text(answer["state"])
        ),
        soft_wrap=piped(out),
    )
    out.print(f"id {answer['plan']}   revision {answer['revision']}", soft_wrap=piped(out))
    if answer["batches"]:
        out.print(_batches(answer["batches"]))
    if answer["quote_seconds"] is not None:
        out.print(f"Taking everything back would take {answer['quote_seconds']:.0f} s at worst")
    else:
        out.print(Text("It cannot be taken back.", style="bold red"))
    quote = answer.get("quote") or {}
    if quote.get("first_over") is not None:
        out.print(
            f"From batch {quote['first_over']} on that is more than the {quote['limit']:.0f} s that"
            " the promise leaves",
            soft_wrap=piped(out),
        )
    for one in quote.get("advice", ()):
        out.print(f"  - {printable(one['sentence'])}", soft_wrap=piped(out))
    for problem in answer["problems"]:
        out.print(f"  - {printable(problem)}", soft_wrap=piped(out))
    for warning in answer.get("warnings", ()):
        out.print(f"  - warning: {printable(warning)}", soft_wrap=piped(out))
    for old in answer.get("old_versions", ()):
        back_to = old["version"] or "a version that is not known"
        said = (
            f"a rollback brings {counted(old['tenants'], 'tenant')} back to {back_to}:"
            f" {old['problem']}"
        )
        out.print(f"  - warning: {printable(said)}", soft_wrap=piped(out))


def print_change(out: Terminal, answer: Mapping[str, Any]) -> None:
    """Print what a change of a running plan does, or would do: at once, and after approval."""
    told = answer.get("adjustment", answer)
    for problem in answer.get("problems", ()):
        out.print(f"  - {printable(problem)}", soft_wrap=piped(out))
    for warning in answer.get("warnings", ()):
        out.print(Text(printable(warning), style="bold red"), soft_wrap=piped(out))
    for change in told["applied"]:
        out.print(f"At the next look: {printable(change['sentence'])}", soft_wrap=piped(out))
    request = told.get("request") or {}
    roles = printable(", ".join(request.get("roles") or answer.get("roles") or ()))
    until = f" until {moment(request['deadline'])}" if request else ""
    for change in told["waiting_for_approval"]:
        words = f"Waits for {roles}{until}: {printable(change['sentence'])}"
        out.print(words, soft_wrap=piped(out))
    for rail in answer.get("guardrails", ()):
        out.print(f"Now: {printable(rail['sentence'])}", soft_wrap=piped(out))


def print_refusal(out: Terminal, sentence: str, problems: tuple[str, ...] = ()) -> None:
    """Print why something was refused, and every problem on a line of its own."""
    out.print(Text(printable(sentence), style="bold red"), soft_wrap=piped(out))
    for problem in problems:
        if problem != sentence:
            out.print(f"  - {printable(problem)}", soft_wrap=piped(out))


def _batches(batches: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("NO", "BATCH", "STATE", "TENANTS", "INFO"):
        table.add_column(heading, justify="right" if heading in ("NO", "TENANTS") else "left")
    for number, batch in enumerate(batches, start=1):
        counts = batch.get("counts") or {}
        info = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts.items())
        table.add_row(
            str(batch.get("number", number)),
            printable(batch["name"]),
            state_text(batch.get("state", "pending")),
            str(batch["tenants"]),
            info,
        )
    return table


def _rollback(rollback: Mapping[str, Any]) -> str:
    reason = printable(rollback.get("reason") or "no reason given")
    if rollback.get("seconds") is None:
        return f"Rollback: running, to be done by {clock(rollback['deadline'])} ({reason})"
    told = f"Rollback: done after {rollback['seconds']:.1f} s ({reason})"
    followed = printable((rollback.get("aftermath") or {}).get("sentence") or "")
    return f"{told}\n{followed}" if followed else told
