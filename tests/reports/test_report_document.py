"""What the report says: the same facts that an auditor would ask for, good or bad."""

import json
from dataclasses import replace

import pytest

from reports.document.blocks import NOTHING, Document, Listing, Pairs, Paragraph, Statements, Table
from reports.document.compliance_report import compose, digest, report_json, success_percent
from reports.document.course import tenant_annex
from reports.document.facts import ReportFacts
from reports.document.facts_course import AftermathKpi, DrillFact, QuoteFact
from reports.document.intent import people_section, separation
from reports.document.proof import excerpt, negative_statements
from reports.document.rollbacks import rollback_sentence, rollbacks_section
from tests.reports.sample_facts import (
    ARAM,
    MARA,
    after,
    approvals,
    batch,
    completed_facts,
    events,
    large_facts,
    rollback,
    rolled_back_facts,
    tenant,
)


def composed(facts: ReportFacts) -> Document:
    return compose(facts, data_digest=digest(report_json(facts)))


def said(document: Document, anchor: str) -> str:
    """Return all words of one section."""
    section = next(section for section in document.sections if section.anchor == anchor)
    parts: list[str] = []
    for block in section.blocks:
        if isinstance(block, Paragraph):
            parts.append(block.text)
        elif isinstance(block, Statements):
            parts += [text for text, _tone in block.items]
        elif isinstance(block, Pairs):
            parts += [f"{name}: {cell.text}" for name, cell in block.rows]
        elif isinstance(block, Table):
            parts += [" | ".join(cell.text for cell in row) for row in block.rows]
        elif isinstance(block, Listing):
            parts += block.chunks
    return "\n".join(parts)


def tones(statements: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(statements)


UNSIGNED = "No tenant was seen with another artifact than was signed."


def test_whom_the_plan_went_on_without_is_listed_with_why_and_when():
    facts = completed_facts()
    first, *others = facts.batches[0].tenants
    gone = replace(
        first,
        state="rolled_back",
        set_aside="quarantined",
        set_aside_at=after(64),
        set_aside_why="503 of the node",
    )
    left = replace(others[0], set_aside="excluded", set_aside_why="Olga: asked us to wait")
    one = replace(facts.batches[0], tenants=(gone, left, *others[1:]))
    told = said(composed(replace(facts, batches=(one, *facts.batches[1:]))), "set-aside")
    assert told.splitlines() == [
        f"{gone.key} | canary | rolled back | 2026-11-23 10:04:00 | 503 of the node",
        f"{left.key} | canary | upgraded | {NOTHING} | Olga: asked us to wait",
    ]


def test_a_plan_that_left_nobody_out_says_so():
    told = said(composed(completed_facts()), "set-aside")
    assert told == "No tenant was quarantined, left out or skipped while the plan ran."


def test_every_asked_for_part_is_there_in_order():
    anchors = [section.anchor for section in composed(rolled_back_facts()).sections]
    assert anchors == [
        "plan",
        "people",
        "policy",
        "adjustments",
        "batches",
        "metrics",
        "rulings",
        "rollbacks",
        "set-aside",
        "needs-hand",
        "acts",
        "negatives",
        "integrity",
        "annex-policy",
        "annex-tenants",
    ]


def test_the_segregation_table_names_author_editor_approvers_and_starter():
    table = said(composed(rolled_back_facts()), "people")
    assert "Author | Mara Lindt <mara@example.com> | 2026-11-23 09:00:00" in table
    assert "Editor | Mara Lindt <mara@example.com> | 2026-11-23 09:10:00" in table
    assert "Approver | Aram Sarkisyan <aram@example.com> | 2026-11-23 09:22:00" in table
    assert "Approver | Sona Hakobyan <sona@example.com> | 2026-11-23 09:31:00" in table
    assert "Starter | Olga Petrova <olga@example.com> | 2026-11-23 10:00:00" in table


def test_an_author_who_approved_is_called_out():
    first, second = approvals().verdicts
    request = replace(approvals(), verdicts=(replace(first, person=MARA), second))
    found = tones(separation(replace(rolled_back_facts(), requests=(request,))))
    assert found["Wrote the plan and approved it: Mara Lindt <mara@example.com>."] == "bad"


def test_one_person_for_two_roles_is_called_out():
    first, second = approvals().verdicts
    request = replace(approvals(), verdicts=(first, replace(second, person=ARAM)))
    found = tones(separation(replace(rolled_back_facts(), requests=(request,))))
    assert found["One person signed for several roles."] == "bad"


def test_a_start_before_the_last_approval_is_called_out():
    found = tones(separation(replace(rolled_back_facts(), started_at=after(25))))
    assert found["1 approval came after the start."] == "bad"


def test_an_approval_of_other_content_is_called_out():
    request = replace(approvals(), plan_digest="ff" * 32)
    section = people_section(replace(rolled_back_facts(), requests=(request,)))
    contents = [
        cell
        for block in section.blocks
        if isinstance(block, Pairs)
        for name, cell in block.rows
        if name == "Content"
    ]
    assert [cell.tone for cell in contents] == ["bad"]


def test_a_rollback_is_measured_against_its_limit():
    text = said(composed(rolled_back_facts()), "rollbacks")
    assert "Measured: 37.4 s of 180 s" in text
    assert "Quoted before: 64 s" in text
    assert "Reason: error_rate is 9.4 %, more than 5 % in 2 looks running" in text


def test_each_batch_is_given_with_the_quote_of_its_gate_and_its_arithmetic():
    quote = QuoteFact(44.0, 16.1, 180.0, 300, (("3 rounds of up to 100 restores", 15.0),))
    facts = completed_facts()
    quoted = replace(facts.batches[0], quote=quote)
    text = said(composed(replace(facts, batches=(quoted, *facts.batches[1:]))), "plan")
    assert "300 | 44 s of 180 s | 16 s | 3 rounds of up to 100 restores: 15.0 s" in text
    assert "of 180 s" not in said(composed(facts), "plan")


def test_a_rollback_is_given_with_what_was_expected_and_the_arithmetic_of_its_quote():
    record = replace(
        rollback(), expected_seconds=21.0, quote_terms=(("one call that times out", 20.0),)
    )
    text = said(composed(replace(rolled_back_facts(), rollbacks=(record,))), "rollbacks")
    assert "Expected before: 21 s" in text
    assert "Arithmetic of the quote: one call that times out: 20.0 s" in text


@pytest.mark.parametrize(
    ("seconds", "word"), [(180.0, "in time"), (180.1, "TOO LATE"), (12.0, "in time")]
)
def test_a_late_rollback_is_said_to_be_late(seconds, word):
    assert word in rollback_sentence(rollback(seconds=seconds))


def test_the_clock_of_a_pause_starts_at_the_pause():
    record = replace(rollback(seconds=100), clock_from=after(96), deadline=after(99))
    assert record.measured_seconds == pytest.approx(160)
    assert record.in_time


def test_an_unfinished_rollback_never_counts_as_in_time():
    record = replace(rollback(), verified_at=None, finished_at=None)
    assert not record.in_time
    assert "Not all 40 tenants were read back" in rollback_sentence(record)


def test_a_rollback_that_left_tenants_to_people_says_how_many():
    record = replace(rollback(needs_hand=3), verified_at=None)
    assert not record.in_time
    assert "37 of 40 tenants read back, 3 left to people after 37.4 s" in rollback_sentence(record)


def test_what_did_not_happen_is_said_in_so_many_words():
    found = tones(negative_statements(completed_facts()))
    assert found["No rollback happened."] == "good"
    assert found["No guardrail was breached."] == "good"
    assert found["No person intervened after the start."] == "good"
    assert found["No alert was raised."] == "good"
    section = rollbacks_section(completed_facts())
    assert section.blocks[0] == Paragraph("No rollback happened.", tone="good")
    assert "No drill of the deployer" in section.blocks[2].text


def test_what_did_happen_is_not_denied():
    found = tones(negative_statements(rolled_back_facts()))
    assert found["1 rollback happened."] == "warn"
    assert found["No rollback missed its limit."] == "good"
    assert found["1 ruling found a guardrail breached."] == "warn"
    assert found["1 look at a metric without data."] == "warn"
    late = replace(rolled_back_facts(), rollbacks=(rollback(seconds=181),))
    assert tones(negative_statements(late))["1 rollback missed the limit."] == "bad"


def test_a_tenant_with_another_artifact_than_was_signed_is_called_out():
    facts = completed_facts()
    assert tones(negative_statements(facts))[UNSIGNED] == "good"
    first, *others = facts.batches
    target = facts.release.version
    foreign = replace(first.tenants[0], version_observed=target, digest_observed="f" * 64)
    changed = replace(first, tenants=(foreign, *first.tenants[1:]))
    found = tones(negative_statements(replace(facts, batches=(changed, *others))))
    assert found["1 tenant last seen with another artifact than was signed."] == "bad"


def test_what_a_rollback_brought_back_unsigned_stands_in_its_record():
    unsigned = replace(
        rollback(), unverified=(("1.4.2", 40, "pay 1.4.2 is no registered release"),)
    )
    section = rollbacks_section(replace(rolled_back_facts(), rollbacks=(unsigned,)))
    said = str(section)
    assert "1.4.2, 40 tenants: pay 1.4.2 is no registered release" in said
    assert "none was noted as not holding" in str(rollbacks_section(rolled_back_facts()))


def test_a_touched_tenant_without_an_outcome_is_called_out():
    lost = batch(1, "canary", "held", (tenant(1, "unknown"), tenant(2, "pending")))
    found = tones(negative_statements(replace(completed_facts(), batches=(lost,))))
    assert found["1 touched tenant without a settled outcome."] == "bad"


def test_tenants_that_need_a_hand_are_listed_with_owner_and_answer():
    stuck = batch(1, "canary", "needs_hand", (tenant(3, "needs_hand"), tenant(4)))
    text = said(composed(replace(completed_facts(), batches=(stuck,))), "needs-hand")
    assert "1 tenant could not be brought to a known good version." in text
    assert "tenant-00003 | needs hand | team-3@example.com" in text
    assert "503 Service Unavailable: node draining" in text


def test_rolled_back_and_failed_tenants_count_against_the_success_rate():
    mixed = batch(1, "canary", "passed", (tenant(1), tenant(2, "rolled_back"), tenant(3)))
    waiting = batch(2, "wave-1", "pending", (tenant(4, "pending"),))
    facts = replace(completed_facts(), batches=(mixed, waiting))
    assert success_percent(facts) == pytest.approx(100 * 2 / 3)
    tile = composed(facts).verdicts[0]
    assert (tile.value, tile.tone) == ("66.7 %", "bad")


def test_a_plan_that_was_never_started_says_so():
    facts = replace(
        completed_facts(),
        state="rejected",
        started_at=None,
        started_by=None,
        batches=(),
        kpis=(),
        requests=(),
    )
    document = composed(facts)
    assert document.summary == "The plan is rejected. No tenant was touched."
    assert tones(negative_statements(facts))["No tenant was touched."] == "good"
    assert "No approval was ever asked for" in said(document, "people")


def test_every_time_names_its_zone():
    document = composed(rolled_back_facts())
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                for title, cell in zip(block.head, block.rows[0], strict=True):
                    if cell.text.startswith("2026-"):
                        assert "(UTC)" in title
            if isinstance(block, Pairs):
                for _name, cell in block.rows:
                    if "2026-" in cell.text and "release-2026" not in cell.text:
                        assert "UTC" in cell.text


def test_a_broken_trail_is_on_the_first_page_and_in_the_statements():
    broken = replace(rolled_back_facts().trail, intact=False, finding="an event was changed")
    facts = replace(rolled_back_facts(), trail=broken)
    tile = composed(facts).verdicts[3]
    assert (tile.value, tile.tone) == ("BROKEN", "bad")
    assert tones(negative_statements(facts))["THE TRAIL DOES NOT VERIFY: an event was changed."]


def test_head_hash_data_digest_generator_and_cut_off_are_given():
    facts = rolled_back_facts()
    text = said(composed(facts), "integrity")
    assert f"Head hash: {'07' * 32}" in text
    assert digest(report_json(facts)) in text
    assert "Data cut-off: 2026-11-23 10:38:00 UTC" in text
    assert "Generated by: Upgrade Console 0.1.0" in text


def test_a_long_trail_keeps_both_ends_and_every_act_of_a_person_between():
    quiet = events()[4]
    long = [replace(quiet, seq=n) for n in range(1, 2001)]
    long[999] = replace(events()[3], seq=1000)
    shown, left_out = excerpt(long)
    assert shown[0].seq == 1
    assert shown[-1].seq == 2000
    assert 1000 in {event.seq for event in shown}
    assert left_out == 2000 - len(shown)


def test_acts_after_the_start_are_listed_with_their_event_number():
    pause = replace(events()[3], seq=9, at=after(70), sentence="Olga Petrova paused the plan.")
    trail = replace(completed_facts().trail, events=(*events()[:4], pause))
    facts = replace(completed_facts(), trail=trail)
    assert "9 | 2026-11-23 10:10:00 | Olga Petrova | page | Olga Petrova paused" in said(
        composed(facts), "acts"
    )


def test_the_policy_is_annexed_word_for_word():
    assert said(composed(rolled_back_facts()), "annex-policy") == (
        rolled_back_facts().policy_text.rstrip()
    )


def test_every_one_of_many_tenants_is_in_the_annex():
    section = tenant_annex(large_facts(1000))
    text = "\n".join(c for b in section.blocks if isinstance(b, Listing) for c in b.chunks)
    assert all(f"tenant-{number:05d}" in text for number in range(1000))
    assert "tenant-00000  upgraded  1.5.0  10:01:01  team-0@example.com │ tenant-00001" in text


def test_a_rehearsal_is_marked_as_one():
    text = said(composed(replace(completed_facts(), soak_scale=0.01)), "policy")
    assert "REHEARSAL" in text


def test_the_attached_json_holds_every_fact_and_gives_one_digest():
    facts = rolled_back_facts()
    data = json.loads(report_json(facts))
    assert data["rollbacks"][0]["verified_at"] == "2026-11-23T10:37:37.400000+00:00"
    assert len(data["batches"][1]["tenants"]) == 34
    assert digest(report_json(facts)) == digest(report_json(rolled_back_facts()))


def test_a_rollback_that_cured_nothing_is_the_reports_own_ending():
    facts = rolled_back_facts()
    kpi = AftermathKpi("error_rate at_most 5 over 60 s", "still_bad", 9.4, 5.0, "%", 400, 60.0)
    followed = replace(
        facts.rollbacks[-1],
        aftermath="still_bad",
        aftermath_sentence="Rolled back, still bad: the release was not the cause.",
        aftermath_at=after(120),
        aftermath_kpis=(kpi,),
    )
    document = composed(replace(facts, rollbacks=(*facts.rollbacks[:-1], followed)))
    assert (document.outcome, document.tone) == ("rolled back, still bad", "bad")
    assert "the release was not the cause" in document.summary
    told = said(document, "rollbacks")
    assert "error_rate" in told
    assert "at_most" not in told


def test_a_report_while_the_tenants_are_watched_says_that_another_one_follows():
    facts = rolled_back_facts()
    watched = replace(
        facts.rollbacks[-1], aftermath="watching", aftermath_sentence="Watched until 10:00 UTC."
    )
    document = composed(replace(facts, rollbacks=(watched,)))
    assert document.outcome == "rolled back"
    assert "This report is issued again when that is known" in said(document, "rollbacks")


def test_the_report_names_its_drills_and_the_last_one_before_the_plan():
    before = DrillFact(
        "rehearsal", "drill-1", "fleet", "hung_hook", 3, after(-600), 19.2, 49.0, "passed", ""
    )
    own = replace(before, kind="plan", outcome="failed", sentence="Drill failed: too slow.")
    facts = replace(completed_facts(), drills=(own,), drilled_before=before)
    told = said(composed(facts), "rollbacks")
    assert "passed, back in 19.2 s, quoted 49 s" in told
    assert "Drill failed: too slow." in told
