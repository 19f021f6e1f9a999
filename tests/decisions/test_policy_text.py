"""A policy that is written down reads back as the same policy."""

from dataclasses import replace
from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.policies.policy import (
    ApprovalRule,
    BatchSpec,
    Conditions,
    EvidenceRules,
    Guardrail,
    Limits,
    PolicyFile,
    RollbackRules,
    Selection,
    UpgradePolicy,
    Window,
)
from plans.policies.policy_text import NotWritable, policy_text
from plans.policies.policy_yaml import parse_policy_file
from tests.decisions.test_policy_yaml import FIELD_EXAMPLE

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True).filter(
    lambda name: name != "hold-back"
)
kpis = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
numbers = st.floats(-1e9, 1e9, allow_subnormal=False).map(lambda value: value + 0.0)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
labels = st.dictionaries(texts.filter(bool), texts, min_size=1, max_size=2)
words = st.sampled_from


def positive(high: float):
    return st.floats(0.001, high, allow_subnormal=False)


@st.composite
def guardrails(draw):
    side = draw(words(["at_most", "at_least"]))
    against = draw(words(["absolute", "control", "own_history"]))
    compares = against != "absolute"
    return Guardrail(
        kpi=draw(kpis),
        **{side: draw(numbers)},
        unit=draw(words(["points", "ms"]) if compares else st.none() | words(["%", "ms", "s"])),
        against=against,
        scope=draw(words(["plan", "batch", "tenant"])),
        on_missing=draw(words(["hold", "breach", "ignore", *([] if compares else ["zero"])])),
        window_seconds=draw(positive(86400)),
        min_samples=draw(st.integers(1, 10**9)),
        failure_limit=draw(st.integers(0, 1000)),
        consecutive_error_limit=draw(st.integers(0, 1000)),
        initial_delay_seconds=draw(st.floats(0, 86400, allow_subnormal=False)),
        action=draw(words(["rollback", "pause", "warn"])),
        critical=against != "control" and draw(st.booleans()),
        dry_run=draw(st.booleans()),
    )


@st.composite
def batch_lists(draw):
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    shares = [100 // len(chosen)] * len(chosen)
    shares[-1] += 100 - sum(shares)
    return tuple(
        BatchSpec(
            name,
            share,
            60 * draw(st.floats(0, 10080, allow_subnormal=False)),
            tuple(draw(st.lists(kpis, max_size=2, unique=True))),
            draw(words(["automatic", "manual"])),
        )
        for name, share in zip(chosen, shares, strict=True)
    )


evidence_rules = st.builds(
    EvidenceRules,
    kpis=st.lists(kpis, min_size=1, max_size=2, unique=True).map(tuple),
    action=words(["pause", "rollback", "warn"]),
    max_false_rollback_risk=positive(20),
    ratio=st.floats(1, 100, allow_subnormal=False),
    points=st.floats(0, 1, allow_subnormal=False),
    detect=st.floats(1.5, 100, allow_subnormal=False),
    power=st.floats(50, 99.9, allow_subnormal=False),
)


@st.composite
def policy_files(draw):
    limits = Limits(
        failure_rate=draw(st.floats(0, 100, allow_subnormal=False)),
        failures=draw(st.none() | st.integers(0, 10**6)),
        batch_minutes=draw(positive(1440)),
        parallelism=draw(st.integers(1, 1000)),
        attempts=draw(st.integers(1, 20)),
        call_timeout_seconds=draw(positive(50)),
        look_seconds=draw(positive(300)),
    )
    hold = words(["rollback", "hold"])
    window = st.builds(
        Window,
        kind=words(["allow", "deny"]),
        days=words([("mon", "sun"), ("tue",)]),
        start=words([time(22, 0), time(0, 0)]),
        end=words([time(4, 30), time(0, 0)]),
        timezone=words(["UTC", "Asia/Shanghai", "Etc/GMT+5"]),
    )
    thresholds = draw(st.dictionaries(kpis, numbers, max_size=2))
    policy = UpgradePolicy(
        name=draw(names),
        description=draw(texts),
        batches=draw(batch_lists()),
        guardrails=(
            *(Guardrail(kpi, at_most=n, slow_share_percent=5.0) for kpi, n in thresholds.items()),
            *draw(st.lists(guardrails(), max_size=2)),
        ),
        approvals="default",
        selection=Selection(
            order=draw(words(["shuffle", "listed", "risk"])),
            rings=tuple(draw(st.lists(labels, max_size=2))),
            exclude=tuple(draw(st.lists(names | labels, max_size=2))),
            pin=tuple(draw(st.lists(names | labels, max_size=2))),
            hold_back_percentage=draw(st.floats(0, 99, allow_subnormal=False)),
        ),
        advance=draw(words(["automatic", "manual"])),
        windows=tuple(draw(st.lists(window, max_size=2))),
        not_after=draw(st.none() | words([datetime(2031, 3, 5, 12, 0, 0, 123456, UTC)])),
        limits=limits,
        on=Conditions(draw(hold), draw(hold), draw(hold), draw(hold)),
        windows_closing=draw(words(["wait", "finish_batch"])),
        rollback=RollbackRules(
            scope=draw(words(["plan", "batch", "tenant"])),
            rollback_after_seconds=draw(st.floats(0, 60)),
            drill=draw(st.booleans()),
            irreversible=draw(words(["refuse", "freeze"])),
            watch_after_minutes=draw(words([0.0, 1440.0, 1439.5])),
        ),
        evidence=draw(st.none() | evidence_rules),
    )
    rules = draw(st.lists(names, max_size=2, unique=True))
    approvals = {
        name: ApprovalRule(
            name,
            tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True))),
            60.5,
            draw(words([240.0, 0.5, 10_080.0])),
            tuple(draw(st.lists(names, max_size=2, unique=True))),
        )
        for name in ["default", *rules]
    }
    return PolicyFile({policy.name: policy}, approvals)


@given(policy_files())
def test_reading_what_was_written_gives_the_same_policy(written):
    read = parse_policy_file(policy_text(written))
    assert dict(read.policies) == dict(written.policies)
    assert dict(read.approvals) == dict(written.approvals)


def test_the_fields_own_form_survives():
    read = parse_policy_file(FIELD_EXAMPLE)
    assert parse_policy_file(policy_text(read)) == read


def test_writing_twice_gives_the_same_text():
    read = parse_policy_file(FIELD_EXAMPLE)
    assert policy_text(parse_policy_file(policy_text(read))) == policy_text(read)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"failure_limit": 3}, "takes a number alone"),
        ({"action": "warn"}, "takes a number alone"),
    ],
)
def test_what_the_form_has_no_word_for_is_refused_by_name(change, named):
    read = parse_policy_file(FIELD_EXAMPLE)
    policy = read.policies["safe-rollout"]
    first, *rest = policy.guardrails
    changed = replace(policy, guardrails=(replace(first, **change), *rest))
    with pytest.raises(NotWritable, match=named):
        policy_text(PolicyFile({policy.name: changed}, read.approvals))
