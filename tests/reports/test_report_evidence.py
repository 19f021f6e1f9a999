"""The report draws the course of the evidence test and says what it rested on."""

from dataclasses import replace

import pytest

from batches.evidence.evidence_chart import odds_words
from reports.document.blocks import Paragraph, Picture
from reports.document.facts_course import EvidenceFact
from reports.document.metrics import metrics_section
from tests.reports.sample_facts import after, rolled_back_facts

REACHED = EvidenceFact(
    kpis=("error_rate", "latency_ms"),
    tolerated="x1.2 + 0.5 points",
    risk=1.0,
    action="pause",
    verdict="breached",
    sentence="error_rate 3.8 % in the canary against 0.6 % in control: evidence 100 % at look 14",
    estimated=True,
    reached_at=after(97),
    looks=28,
    highest=100.0,
    lines=(
        ("all together", ((after(61), 0.0), (after(96), 40.0), (after(97), 100.0))),
        ("error_rate", ((after(61), 0.0), (after(97), 100.0))),
        ("latency_ms", ((after(61), 0.0), (after(97), 3.0))),
    ),
)


def evidence_of(fact):
    blocks = metrics_section(replace(rolled_back_facts(), evidence=fact)).blocks
    drawn = [block for block in blocks if isinstance(block, Picture)]
    pictures = [picture for picture in drawn if picture.caption.startswith("Evidence that")]
    return pictures, [block for block in blocks if isinstance(block, Paragraph)]


def test_it_is_drawn_with_the_line_at_which_it_acts():
    [picture], [words] = evidence_of(REACHED)
    assert "at 100 %: pause" in picture.svg
    assert "all together" in picture.svg
    assert "latency_ms" in picture.svg
    assert "(error_rate, latency_ms), 28 looks: at most 100 %." in picture.caption
    assert "Tolerated x1.2 + 0.5 points, with 1 % risk of a false alarm" in picture.caption
    assert "an estimate and no proof" in picture.caption
    assert words.text.startswith("It reached 100 % at ")
    assert words.text.endswith("evidence 100 % at look 14.")
    assert words.tone == "bad"


def test_what_never_reached_it_says_what_it_said_last_and_that_it_knew_no_history():
    calm = replace(REACHED, reached_at=None, estimated=False, verdict="fine", highest=12.0)
    [picture], [words] = evidence_of(calm)
    assert "without the tenants' history" in picture.caption
    assert words.text.startswith("It said last: ")
    assert words.tone == "plain"


def test_without_a_test_nothing_is_said():
    assert evidence_of(None) == ([], [])


@pytest.mark.parametrize(
    ("log_e", "words"),
    [(-1.0, "nothing"), (0.0, "nothing"), (4.3694, "79:1"), (1e5, "more than a million to 1")],
)
def test_odds_are_told_as_people_bet(log_e, words):
    assert odds_words(log_e) == f'{words} against "no worse than tolerated"'
