"""Talk to the console's REST API over plain `http.client`: nothing to import, quick to start."""

import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from upgradeconsole import __version__
from upgradeconsole.cli.exit_codes import ExitCode

# While the console restarts, its port is closed or its proxy answers one of these.
RESTARTING = frozenset({502, 503, 504})
BACK_OFF = (0.2, 0.5, 1.0, 2.0)
CALL_TIMEOUT_SECONDS = 30.0


class Unreachable(Exception):
    """The console did not answer; whether it heard the request is unknown."""


class Refusal(Exception):
    """The console answered no: `sentence` says why, `problems` lists what to mend.

    `wait`: after how many seconds to try again, where it says so.
    """

    def __init__(
        self,
        sentence: str,
        *,
        status: int,
        problems: tuple[str, ...] = (),
        wait: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
        self.problems = problems
        self.wait = wait

    @property
    def exit_code(self) -> ExitCode:
        """Return 4 for "you may not" and "not in this state", 5 for input that must be mended."""
        if self.status in (401, 403, 409):
            return ExitCode.NOT_ALLOWED
        if 400 <= self.status < 500:
            return ExitCode.BAD_INPUT
        return ExitCode.ROLLED_BACK_OR_FAILED


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the console."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, or raise Unreachable when something else answered."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unreachable(
                f"the answer (HTTP {self.status}) is not JSON: does POWERX_URL name the console?"
            ) from error


@dataclass(frozen=True, slots=True)
class Console:
    """The console at `url`, spoken to with one API token."""

    url: str
    token: str = field(repr=False)
    sleep: Callable[[float], None] = time.sleep

    def get(self, path: str, **query: str | int | Sequence[str]) -> Any:
        """Return the JSON at `path`; ask again for a few seconds while the console restarts."""
        suffix = f"?{urlencode(query, doseq=True)}" if query else ""
        return self.call("GET", path + suffix).json()

    def post(
        self, path: str, body: Mapping[str, Any], *, more: Mapping[str, str] | None = None
    ) -> Any:
        """Post `body`. Every action is safe to repeat, so a lost answer is asked for again."""
        return self.call("POST", path, body, more=more).json()

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        more: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the answer to one request, or raise Refusal or Unreachable."""
        for pause in BACK_OFF:
            try:
                return self.call_once(method, path, body, more=more)
            except Unreachable:
                self.sleep(pause)
        return self.call_once(method, path, body, more=more)

    def call_once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        more: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request once; `more` are headers that it needs."""
        parts = urlsplit(self.url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.netloc, timeout=CALL_TIMEOUT_SECONDS)
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {self.token}",
            "User-Agent": f"powerx/{__version__}",
            **(more or {}),
        }
        payload = None
        if body is not None:
            payload = json.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, parts.path.rstrip("/") + path, payload, headers)
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            reply = Reply(response.status, answered, response.read())
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"no answer from {self.url}: {reason}") from error
        finally:
            connection.close()
        return _accepted(reply, self.url)


def plan_path(plan: str, tail: str = "") -> str:
    """Return the API path of a plan named by its uuid or external id."""
    return f"/api/v1/plans/{quote(plan, safe='')}/{tail}"


def _accepted(reply: Reply, url: str) -> Reply:
    if reply.status < 300:
        return reply
    if reply.status in RESTARTING and not _is_problem(reply):
        raise Unreachable(f"{url} answers HTTP {reply.status}: it may be restarting")
    if reply.status < 400:
        # A redirect is never followed: the token must not go where nobody sent it.
        elsewhere = reply.headers.get("location", "somewhere else")
        raise Refusal(
            f"{url} redirects to {elsewhere}: set POWERX_URL to the console's own address",
            status=400,
        )
    raise _refusal(reply)


def _is_problem(reply: Reply) -> bool:
    """Tell the console's own answer from that of a proxy in front of it."""
    return reply.headers.get("content-type", "").startswith("application/problem+json")


def _refusal(reply: Reply) -> Refusal:
    try:
        problem = json.loads(reply.body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return Refusal(
            f"the console answered HTTP {reply.status} without a reason", status=reply.status
        )
    sentence = problem.get("detail") or problem.get("title") or f"HTTP {reply.status}"
    problems = tuple(_in_words(entry) for entry in problem.get("errors") or ())
    wait = _seconds(reply.headers.get("retry-after", ""))
    return Refusal(str(sentence), status=reply.status, problems=problems, wait=wait)


def _seconds(written: str) -> float | None:
    return float(written) if written.isascii() and written.isdecimal() else None


def _in_words(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    field_name, detail = entry.get("field"), entry.get("detail", "")
    return f"{field_name}: {detail}" if field_name else str(detail)
