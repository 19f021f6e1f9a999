"""The report's part about rulings: why, since when, what was asked, and breaches drawn."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reports.document.aftermath import called
from reports.document.blocks import Picture, Statements, Table
from reports.document.rulings import MOST_PICTURES, rulings_section
from tests.reports.sample_facts import after, breach, rolled_back_facts

LOOKS = tuple((after(60 + 5 * n), float(n), 5.0) for n in range(8))


def section(*rulings):
    return rulings_section(replace(rolled_back_facts(), rulings=rulings))


def blocks(kind, *rulings):
    return [block for block in section(*rulings).blocks if isinstance(block, kind)]


def test_a_breach_is_drawn_with_the_line_that_it_crossed():
    [picture] = blocks(Picture, replace(breach(), recent=LOOKS))
    assert "limit 5 %" in picture.svg
    assert 'aria-label="Course of error_rate in %"' in picture.svg
    assert breach().sentence in picture.caption


def test_only_breaches_are_drawn_and_not_more_than_fit():
    fine = replace(breach(), verdict="fine", recent=LOOKS)
    assert not blocks(Picture, fine, replace(breach(), recent=()))
    many = [replace(breach(), recent=LOOKS, at=after(n)) for n in range(MOST_PICTURES + 3)]
    assert len(blocks(Picture, *many)) == MOST_PICTURES


def test_missing_data_says_since_when_and_what_would_end_it():
    since = after(60)
    blind = replace(
        breach(), verdict="no_data", sentence="no data", since=since, next="One good look ends this"
    )
    [table] = blocks(Table, blind)
    why = table.rows[0][-1].text
    assert f"{since:%H:%M:%S}" in why
    assert why.endswith("One good look ends this.")
    assert f"{since + timedelta(seconds=1):%H:%M:%S}" not in why


def test_each_query_is_told_once():
    asked = replace(breach(), query="prom: bad: sum by (tenant) (errors_total)")
    [told] = blocks(Statements, asked, replace(asked, at=after(5)))
    assert told.items == (
        ("error_rate was asked of prom: bad: sum by (tenant) (errors_total)", "plain"),
    )


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("error_rate at_most 2 for 95 % over 60 s", "error_rate"),
        (
            "cost at_least 1.5 points over 0.5 s against control per batch",
            "cost against control per batch",
        ),
    ],
)
def test_beside_its_limit_a_guardrail_is_called_by_its_kpi(key, name):
    assert called(key) == name
