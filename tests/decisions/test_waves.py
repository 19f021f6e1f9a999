"""Tenants are shared out completely, fairly and the same way each time."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.drafting.waves import Candidate, arrange, batch_sizes, batch_specs
from plans.policies.policy import BatchSpec, Selection, UpgradePolicy
from tests.decisions.effort import lines_run

SPLIT = (5, 30, 65)


def policy(*percentages, **selection):
    batches = tuple(
        BatchSpec(f"b{n}", share, soak_seconds=60.0 * n, metrics=(f"kpi{n}",))
        for n, share in enumerate(percentages or SPLIT)
    )
    return UpgradePolicy(name="p", batches=batches, selection=Selection(**selection))


def fleet(count, **labels):
    return [Candidate(f"t{n:05}", labels) for n in range(count)]


def names(arrangement):
    return [wave.name for wave in arrangement.waves]


def line(arrangement):
    return [key for wave in arrangement.waves for key in wave.tenants]


@pytest.mark.parametrize(
    ("count", "percentages", "sizes"),
    [
        (100, (5, 30, 65), [5, 30, 65]),
        (10, (5, 30, 65), [1, 3, 6]),
        (3, (5, 30, 65), [1, 1, 1]),
        (2, (5, 30, 65), [1, 1, 0]),
        (0, (5, 30, 65), [0, 0, 0]),
        (4, (1, 1, 98), [1, 1, 2]),
        (10, (33.33, 33.33, 33.33), [4, 3, 3]),
        (10_000, (0.29, 99.71), [29, 9971]),
        (7, (100,), [7]),
    ],
)
def test_tenants_per_batch(count, percentages, sizes):
    assert batch_sizes(count, percentages) == sizes


def test_a_wave_carries_what_its_batch_says():
    waves = arrange(fleet(100), policy(), seed="s").waves
    assert [(w.number, w.name, len(w.tenants), w.soak_seconds, w.metrics) for w in waves] == [
        (1, "b0", 5, 0.0, ("kpi0",)),
        (2, "b1", 30, 60.0, ("kpi1",)),
        (3, "b2", 65, 120.0, ("kpi2",)),
    ]
    assert not any(wave.hold_back for wave in waves)


def test_with_two_tenants_the_third_batch_is_left_out():
    assert names(arrange(fleet(2), policy(), seed="s")) == ["b0", "b1"]


def test_no_tenants_make_no_batches():
    assert arrange([], policy(hold_back_percentage=10), seed="s").waves == ()


def test_excluded_tenants_are_told_why():
    candidates = [Candidate("acorn"), Candidate("birch", {"tier": "gold"}), Candidate("cedar")]
    found = arrange(candidates, policy(exclude=("acorn", {"tier": "gold"})), seed="s")
    assert found.excluded == {
        "acorn": "the policy excludes the tenant acorn",
        "birch": "the policy excludes tenants with tier=gold",
    }
    assert line(found) == ["cedar"]


def test_excluding_wins_over_pinning():
    found = arrange(
        [Candidate("acorn"), Candidate("birch")],
        policy(exclude=("acorn",), pin=("acorn",)),
        seed="",
    )
    assert line(found) == ["birch"]


def test_labels_match_only_when_all_of_them_do():
    candidates = [
        Candidate("acorn", {"tier": "gold"}),
        Candidate("birch", {"tier": "gold", "eu": "y"}),
    ]
    found = arrange(candidates, policy(exclude=({"tier": "gold", "eu": "y"},)), seed="s")
    assert line(found) == ["acorn"]


def test_pinned_tenants_enlarge_the_first_batch():
    pins = tuple(f"t{n:05}" for n in range(50, 60))
    waves = arrange(fleet(100), policy(pin=pins), seed="s").waves
    assert set(waves[0].tenants) == set(pins)
    assert [len(wave.tenants) for wave in waves] == [10, 28, 62]


def test_pinning_everybody_leaves_one_batch():
    assert names(arrange(fleet(5, a="b"), policy(pin=({"a": "b"},)), seed="s")) == ["b0"]


def test_rings_come_in_their_order_and_the_rest_last():
    candidates = [
        Candidate("acorn"),
        Candidate("birch", {"ring": "early"}),
        Candidate("cedar", {"ring": "internal"}),
    ]
    rings = ({"ring": "internal"}, {"ring": "early"})
    assert line(arrange(candidates, policy(rings=rings), seed="s")) == ["cedar", "birch", "acorn"]


def test_listed_keeps_the_order_of_the_plan():
    candidates = [Candidate("cedar"), Candidate("acorn"), Candidate("birch")]
    found = arrange(candidates, policy(order="listed"), seed="s")
    assert line(found) == ["cedar", "acorn", "birch"]


def test_risk_puts_low_risk_and_few_failures_first():
    candidates = [
        Candidate("odd", {"risk": "extreme"}, past_failures=9),
        Candidate("high", {"risk": "high"}),
        Candidate("none-failed", past_failures=2),
        Candidate("medium", {"risk": "medium"}, past_failures=1),
        Candidate("none"),
        Candidate("low", {"risk": "low"}, past_failures=7),
    ]
    found = arrange(candidates, policy(order="risk"), seed="s")
    assert line(found) == ["low", "none", "medium", "none-failed", "high", "odd"]


def test_the_shuffle_depends_on_the_seed_and_not_on_the_order_of_reading():
    candidates = fleet(50)
    first = arrange(candidates, policy(), seed="one")
    assert arrange(candidates[::-1], policy(), seed="one") == first
    assert arrange(candidates, policy(), seed="two").waves != first.waves
    assert first.seed == "one"


def test_the_shuffle_is_the_same_on_every_machine_and_version():
    keys = [Candidate(key) for key in ("acorn", "birch", "cedar", "dogwood", "elm")]
    assert line(arrange(keys, policy(), seed="plan-1")) == [
        "cedar",
        "dogwood",
        "birch",
        "acorn",
        "elm",
    ]


def test_the_hold_back_is_a_last_batch_without_a_soak():
    base = replace(policy(hold_back_percentage=10), advance="manual")
    *_, last = arrange(fleet(100), base, seed="s").waves
    assert (last.number, last.name, len(last.tenants)) == (4, "hold-back", 10)
    assert (last.soak_seconds, last.advance, last.hold_back) == (0.0, "manual", True)
    assert last.metrics == ("kpi2",)


@pytest.mark.parametrize(("count", "held_back"), [(1, 0), (2, 1), (10, 1), (1000, 10)])
def test_the_hold_back_has_at_least_one_tenant_and_never_the_first(count, held_back):
    waves = arrange(fleet(count), policy(hold_back_percentage=1), seed="s").waves
    assert sum(len(wave.tenants) for wave in waves if wave.hold_back) == held_back


def test_a_pinned_tenant_is_never_held_back():
    found = arrange(fleet(4, a="b"), policy(pin=({"a": "b"},), hold_back_percentage=50), seed="s")
    assert names(found) == ["b0"]


def test_a_tenant_named_twice_is_an_error():
    with pytest.raises(ValueError, match="twice"):
        arrange([Candidate("acorn"), Candidate("acorn")], policy(), seed="s")


shares = st.lists(st.integers(1, 1000), min_size=1, max_size=8).map(
    lambda parts: [100 * part / sum(parts) for part in parts]
)


@given(st.integers(0, 3000), shares)
def test_shares_are_kept_within_one_tenant_unless_a_batch_would_be_empty(count, percentages):
    sizes = batch_sizes(count, percentages)
    assert sum(sizes) == count
    assert all(size > 0 for size in sizes[:count])
    quotas = [count * share / 100 for share in percentages]
    if all(quota >= 1 for quota in quotas):
        assert all(abs(size - quota) < 1.001 for size, quota in zip(sizes, quotas, strict=True))


@given(
    count=st.integers(0, 60),
    percentages=shares,
    order=st.sampled_from(["shuffle", "listed", "risk"]),
    hold_back=st.sampled_from([0, 1, 25, 99]),
    labels=st.lists(st.sampled_from(["a", "b", "c"]), min_size=60, max_size=60),
    seed=st.text(max_size=5),
)
def test_every_eligible_tenant_is_in_exactly_one_batch(
    count, percentages, order, hold_back, labels, seed
):
    candidates = [Candidate(f"t{n}", {"l": labels[n]}) for n in range(count)]
    selection = {
        "order": order,
        "exclude": ({"l": "a"},),
        "pin": ({"l": "b"},),
        "hold_back_percentage": hold_back,
    }
    found = arrange(candidates, policy(*percentages, **selection), seed=seed)
    placed = Counter([*line(found), *found.excluded])
    assert placed == Counter(candidate.key for candidate in candidates)
    assert all(wave.tenants for wave in found.waves)
    assert [wave.number for wave in found.waves] == list(range(1, len(found.waves) + 1))
    pinned = {c.key for c in candidates if c.labels["l"] == "b"}
    assert not found.waves or pinned <= set(found.waves[0].tenants)
    assert arrange(candidates, policy(*percentages, **selection), seed=seed) == found
    specs = batch_specs(policy(*percentages, **selection), len(found.waves))
    assert [(s.name, s.soak_seconds, s.metrics, s.advance) for s in specs] == [
        (w.name, w.soak_seconds, w.metrics, w.advance) for w in found.waves
    ]


def test_four_times_the_tenants_take_about_four_times_as_much():
    few, many = (fleet(number, ring="early", region="eu") for number in (1_000, 4_000))
    wanted = policy(
        order="risk",
        rings=({"ring": "internal"}, {"ring": "early"}),
        exclude=({"region": "us"},),
        pin=("t00007",),
        hold_back_percentage=5,
    )
    # One that looks at all others for each tenant would take sixteen times as much.
    assert lines_run(lambda: arrange(many, wanted, seed="s")) < 5 * lines_run(
        lambda: arrange(few, wanted, seed="s")
    )
