"""Let schemathesis ask an API what its document offers, and tell what was answered wrongly.

What it does is set up here alone. Nothing is random and nothing is remembered: the same code asks
the same questions on each run.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import schemathesis
from django.db import connections, transaction
from django.test.client import ClientHandler
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.engine import events, from_schema
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


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def config(
    token: str,
    known: Mapping[str, Iterable[object]],
    *,
    examples: int,
    coverage: bool,
    in_process: bool,
) -> SchemathesisConfig:
    """Return how to ask: by which token, with which known names, how often each operation."""
    told = {where: [str(value) for value in values] for where, values in known.items()}
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "workers": 1,
            "continue-on-failure": True,
            "headers": bearer(token),
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
                "coverage": {
                    "enabled": coverage,
                    # Each address with each method is in tests/web/test_access_matrix.py.
                    "unexpected-methods": ["DELETE", "TRACE"],
                    # The fuzzing asks everybody; this asks thousands of things, once.
                    "checks": {
                        "everybody_is_answered": {"enabled": False},
                        "nobody_else_gets_it": {"enabled": False},
                    },
                },
                "fuzzing": {"enabled": examples > 0},
                "stateful": {"enabled": False},
            },
            "checks": {**NOT_TRUE_HERE, "ignored_auth": {"enabled": not in_process}},
            # It would read the product's own source for values that it compares with.
            "analysis": {"constants": {"enabled": False}},
            "cache": {"enabled": False},
        }
    )


class TakenBack:
    """The application in this process; what a request changes is taken back before the next."""

    def __init__(self, others: Mapping[str, str] | None = None) -> None:
        self.others = dict(others or {})
        self.closed: set[str] = set()
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
def nobody_else_gets_it(_ctx: Any, response: Any, case: Any) -> None:
    """Check that what was answered is not answered without a token, and not by a made-up one.

    schemathesis' own `ignored_auth` does this over the network alone: inside of the process, its
    probes are sent with options that only a network has.
    """
    app, label = case.operation.app, case.operation.label
    if isinstance(app, TakenBack) and response.status_code < 300 and label not in app.closed:
        # It holds for the operation, whatever it was asked.
        app.closed.add(label)
        for authorization in ("", "Bearer nobody-gave-this"):
            answer = case.call(headers={"Authorization": authorization})
            assert answer.status_code == 401, f"{answer.status_code} with '{authorization}'"


@schemathesis.check
def everybody_is_answered(_ctx: Any, _response: Any, case: Any) -> None:
    """Check the answer to the same question from each other person and token."""
    for who, token in getattr(case.operation.app, "others", {}).items():
        answer = case.call(headers=bearer(token))
        try:
            case.validate_response(answer, checks=TO_EVERYBODY)
        except FailureGroup as wrong:
            told = "; ".join(f"{one.title}: {one.message}" for one in wrong.exceptions)
            raise AssertionError(f"as {who}: {told}") from None


def wrong_answers(schema: Any) -> list[str]:
    """Return a line for each kind of wrong answer of each operation, and for what did not run."""
    wrong: dict[tuple[str, str, str], str] = {}
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            for case_id, nodes in event.recorder.checks.items():
                for node in nodes:
                    if node.failure_info is not None:
                        failure = node.failure_info.failure
                        asked = event.recorder.cases[case_id].value.as_curl_command()
                        key = (str(event.label), node.name, failure.title)
                        wrong.setdefault(key, f"{failure.message[:400]}\n    {asked[:600]}")
        elif isinstance(event, events.NonFatalError | events.FatalError):
            wrong[type(event).__name__, str(event), ""] = "the run itself failed"
    return [f"{': '.join(key)}: {told}" for key, told in wrong.items()]
