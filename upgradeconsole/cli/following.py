"""Follow a plan: its events as they come, over restarts of the console, until it ends."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console as Terminal

from upgradeconsole.cli import render
from upgradeconsole.cli.client import Console, Unreachable, plan_path
from upgradeconsole.cli.exit_codes import ENDED, ExitCode, outcome

POLL_SECONDS = 1.0
PAGE = 500
LONGEST_PAUSE_SECONDS = 15.0


@dataclass(slots=True)
class Follower:
    """Poll the events of one plan from `since` on and print each once.

    `ended` tells from the plan's state whether following is over; `timeout` is in seconds.
    """

    console: Console
    plan: str
    out: Terminal
    err: Terminal
    as_json: bool = False
    timeout: float | None = None
    since: int = 0
    ended: Callable[[str], bool] = ENDED.__contains__
    monotonic: Callable[[], float] = time.monotonic

    def follow(self) -> ExitCode:
        """Return the exit code of the plan when it has ended, or 3 when the time is up."""
        try:
            return self._follow()
        except KeyboardInterrupt:
            self._say_how_to_go_on("Stopped following; the plan goes on.")
            return ExitCode.TIMED_OUT

    def _follow(self) -> ExitCode:
        deadline = None if self.timeout is None else self.monotonic() + self.timeout
        lost_after = 0
        while True:
            try:
                page = self._next_page()
            except Unreachable as error:
                lost_after += 1
                if lost_after == 1:
                    render.print_refusal(self.err, f"{error}; trying again")
                pause = min(POLL_SECONDS * 2 ** (lost_after - 1), LONGEST_PAUSE_SECONDS)
            else:
                if lost_after:
                    self.err.print("The console answers again.")
                lost_after = 0
                if page["more"]:
                    continue
                if self.ended(page["state"]):
                    return self._summary()
                pause = POLL_SECONDS
            if deadline is not None and self.monotonic() + pause > deadline:
                self._say_how_to_go_on(f"Not ended after {self.timeout:g} s.")
                return ExitCode.TIMED_OUT
            self.console.sleep(pause)

    def _next_page(self) -> Any:
        query = f"events?since={self.since}&limit={PAGE}"
        page = self.console.call_once("GET", plan_path(self.plan, query)).json()
        for event in page["events"]:
            # A page asked for twice, or one served by two versions, prints nothing twice.
            if event["seq"] <= self.since:
                continue
            self.since = event["seq"]
            if self.as_json:
                render.print_json(self.out, event)
            else:
                render.print_event(self.out, event)
        return page

    def _summary(self) -> ExitCode:
        plan = self.console.get(plan_path(self.plan))
        if self.as_json:
            render.print_json(self.out, plan)
        else:
            render.print_plan(self.out, plan)
        return outcome(plan)

    def _say_how_to_go_on(self, why: str) -> None:
        again = f"powerx plugin status {self.plan} --watch --since {self.since}"
        self.err.print(f"{why} Follow again with: {again}", soft_wrap=True)
