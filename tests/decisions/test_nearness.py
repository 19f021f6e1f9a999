"""How far the next verdict is."""

from dataclasses import replace

import pytest

from batches.guardrails.guard_state import GuardState
from batches.guardrails.verdict import judge, measure
from batches.sources.increments import failed_look
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import ERROR_RATE, NOON, after, look, ratio

RULE = Guardrail("error_rate", at_most=5, unit="%", failure_limit=2)
GOOD, BAD, FEW = ratio(0, 100), ratio(50, 100), ratio(0, 15)


def next_after(*points, rule=RULE):
    state = GuardState()
    for number, point in enumerate(points, start=1):
        newest = (
            failed_look(
                kpi="error_rate", source="f", at=after(5 * number), cause=point, sentence=""
            )
            if isinstance(point, str)
            else look(5 * number, {"acorn": point})
        )
        seen = measure(rule, ERROR_RATE, [newest], canary=1, now=newest.at)
        state, ruling = judge(state, seen, rule, now=newest.at, soak_started=NOON)
    return ruling.next


@pytest.mark.parametrize(
    ("points", "changes", "said"),
    [
        ([GOOD], {}, "3 bad looks running would roll the plan back"),
        ([GOOD], {"failure_limit": 0}, "1 bad look would roll the plan back"),
        ([BAD], {}, "2 more bad looks would roll the plan back"),
        ([BAD, BAD], {}, "1 more bad look would roll the plan back"),
        ([BAD, BAD], {"scope": "tenant"}, "1 more bad look would roll that tenant back"),
        ([BAD, BAD], {"scope": "batch"}, "1 more bad look would roll the batch back"),
        ([BAD, BAD], {"action": "pause"}, "1 more bad look would pause the plan"),
        ([BAD, BAD], {"action": "warn"}, "1 more bad look would raise an alert"),
        ([BAD, BAD], {"dry_run": True}, "1 more bad look would be a breach (dry run: nothing"),
        ([BAD, BAD, BAD], {}, "One good look ends this"),
        ([FEW], {}, "5 more requests within the window for a verdict"),
        ([GOOD, "timeout"], {}, "4 more readings without data would be no data"),
        ([GOOD, *["timeout"] * 5], {}, "One good look ends this"),
        ([GOOD, "timeout"], {"on_missing": "ignore"}, ""),
    ],
)
def test_the_next_verdict_is_told(points, changes, said):
    found = next_after(*points, rule=replace(RULE, **changes))
    assert found.startswith(said)
    assert bool(found) == bool(said)
