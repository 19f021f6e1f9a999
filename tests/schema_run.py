"""Let schemathesis ask an API what its document offers, and tell what was answered wrongly.

What it does is set up here alone. Nothing is random and nothing is remembered: the same code asks
the same questions on each run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import schemathesis
from django.db import connections, transaction
from django.test.client import ClientHandler
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.engine import StopReason, events, from_schema
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

SEED = 20_261_126
# As often are names in an address or a body those of things that are there: else hardly anything
# but 404 would be tried.
KNOWN = 0.5
TO_EVERYBODY = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
NOT_TRUE_HERE = {
    # What fits the document may name what is not there, or come at the wrong time.
    "positive_data_acceptance": {"enabled": False},
    # A number is taken as the text that it is written with, as forms have it.
    "negative_data_rejection": {"enabled": False},
}


EVERYBODY, NOBODY = "EverybodyIsAnswered", "NobodyElseGetsIt"
Known = Mapping[str, Iterable[object]]
"""Names of what is there, by where they are asked for: `path.plan`, `body.plugin`."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def in_process(
    token: str, known: Known, *, others: Mapping[str, str], examples: int
) -> SchemathesisConfig:
    """Return how to ask the application in this process everything, as one and as the others."""
    coverage = {
        "enabled": True,
        # Each address with each method is in tests/web/test_access_matrix.py.
        "unexpected-methods": ["DELETE", "TRACE"],
    }
    checks = {
        "ignored_auth": {"enabled": False},
        NOBODY: {"at_least": 30},
        EVERYBODY: {"tokens": dict(others)},
    }
    return _config(token, known, examples=examples, coverage=coverage, checks=checks)


def over_the_network(
    token: str, known: Known, *, others: Mapping[str, str], examples: int
) -> SchemathesisConfig:
    """Return how to ask a console that runs, as one and as the others."""
    checks = {NOBODY: {"at_least": 15}, EVERYBODY: {"tokens": dict(others)}}
    return _config(token, known, examples=examples, coverage={"enabled": False}, checks=checks)


def _config(
    token: str,
    known: Known,
    *,
    examples: int,
    coverage: dict[str, Any],
    checks: dict[str, Any],
) -> SchemathesisConfig:
    told = {where: [str(value) for value in values] for where, values in known.items()}
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "workers": 1,
            "continue-on-failure": True,
            "headers": bearer(token),
            "request-timeout": 60,
            "dictionaries": {where: {"values": values} for where, values in told.items()},
            "parameters": {where: {"dictionary": where, "probability": KNOWN} for where in told},
            "generation": {
                "deterministic": True,
                "database": "none",
                "max-examples": examples,
                "no-shrink": True,
            },
            "phases": {
                "examples": {"enabled": False},
                "coverage": coverage,
                "fuzzing": {"enabled": True},
                "stateful": {"enabled": False},
            },
            "checks": NOT_TRUE_HERE | checks,
            # It would read the product's own source for values that it compares with.
            "analysis": {"constants": {"enabled": False}},
            "cache": {"enabled": False},
        }
    )


class TakenBack:
    """The application in this process; what a request changes is taken back before the next."""

    def __init__(self) -> None:
        self._handler = ClientHandler()
        # The engine asks from a thread of its own; what is asked about is in this transaction.
        self._connection = connections["default"]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Answer as a WSGI application does."""
        connections["default"] = self._connection
        block = transaction.atomic()
        # As Django marks those of its test cases: what must be outermost may be inside of it.
        block._from_testcase = True
        with block:
            answer = self._handler(environ)
            body = answer.getvalue()
            transaction.set_rollback(True)
        status = answer.status_code
        start_response(f"{status} {answer.reason_phrase}", list(answer.items()))
        return [body]

    def __enter__(self) -> Self:
        """Let the engine's thread, too, use the connection."""
        self._connection.inc_thread_sharing()
        return self

    def __exit__(self, *_error: object) -> None:
        """Give the connection back to the thread that it belongs to."""
        self._connection.dec_thread_sharing()


@schemathesis.check
class NobodyElseGetsIt:
    """Check that what was answered is not answered without a token, and not by a made-up one.

    schemathesis' own `ignored_auth` does this over the network alone: inside of the process, its
    probes are sent with options that only a network has.
    """

    def __init__(self, *, at_least: int = 0) -> None:
        self._at_least = at_least
        self._closed: set[str] = set()

    def after_response(self, _ctx: Any, response: Any, case: Any) -> None:
        """Ask again without the token; it holds for the operation, whatever it was asked."""
        if response.status_code >= 300 or case.operation.label in self._closed:
            return
        self._closed.add(case.operation.label)
        for authorization in ("", "Bearer nobody-gave-this"):
            answer = case.call(headers={"Authorization": authorization})
            assert answer.status_code == 401, f"{answer.status_code} with '{authorization}'"

    def after_run(self, _ctx: Any) -> None:
        """Check that much was answered at all, and not only refused."""
        answered = len(self._closed)
        assert answered >= self._at_least, f"only {answered} operations have ever succeeded"


@schemathesis.check
class EverybodyIsAnswered:
    """Check the answer to the same question from each other person and token."""

    def __init__(self, *, tokens: Mapping[str, str] | None = None) -> None:
        self._tokens = dict(tokens or {})

    def after_response(self, _ctx: Any, _response: Any, case: Any) -> None:
        """Ask in the name of each of them; the thousands of the coverage are for one alone."""
        # Not by configuration: that turns a check that is a class on or off for a whole run.
        if case.meta is not None and case.meta.phase.name is TestPhase.COVERAGE:
            return
        for who, token in self._tokens.items():
            answer = case.call(headers=bearer(token))
            try:
                case.validate_response(answer, checks=list(TO_EVERYBODY))
            except FailureGroup as wrong:
                told = "; ".join(f"{one.title}: {one.message}" for one in wrong.exceptions)
                raise AssertionError(f"as {who}: {told}") from None


def wrong_answers(schema: Any) -> list[str]:
    """Return a line for each kind of wrong answer of each operation, and for what did not run."""
    wrong: dict[str, str] = {}
    for event in from_schema(schema).execute():
        for kind, told in _wrong_in(event):
            wrong.setdefault(kind, told)
    return [f"{kind}: {told}" for kind, told in wrong.items()]


def _wrong_in(event: events.EngineEvent) -> Iterator[tuple[str, str]]:
    if isinstance(event, events.ScenarioFinished):
        yield from _failed_checks(event)
    elif isinstance(event, events.NonFatalError):
        yield f"{event.label}: could not be asked", repr(event.value)
    elif isinstance(event, events.FatalError):
        yield "nothing could be asked", repr(event.exception)
    elif isinstance(event, events.EngineFinished):
        for failure in event.failures:
            yield failure.title, failure.message
        if event.stop_reason is not StopReason.COMPLETED:
            yield "not all was asked", event.stop_reason.value


def _failed_checks(scenario: events.ScenarioFinished) -> Iterator[tuple[str, str]]:
    for case_id, checks in scenario.recorder.checks.items():
        asked = scenario.recorder.cases[case_id].value.as_curl_command()
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                kind = f"{scenario.label}: {check.name}: {failure.title}"
                yield kind, f"{failure.message[:400]}\n    {asked[:600]}"
