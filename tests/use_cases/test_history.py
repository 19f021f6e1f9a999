"""History is recorded once a minute, adds up, forgets in time, and says when it is too little."""

from datetime import timedelta

import pytest
import time_machine
from django_q.models import OrmQ

from batches import tasks
from batches.history import kpi_history, recording, retention
from batches.history.recording import FIVE_MINUTES, HOUR, MINUTE
from batches.history.rollups import Layout, merged, packed, rolled
from batches.looks import retention as looks_retention
from batches.looks.kpi_points import RatioPoint
from batches.metric_sources import MetricUnavailable
from batches.models import JudgedLook, KpiHistoryCursor, KpiRollup, KpiSample, TenantUpgrade
from plans.models import Event, Plan
from tests.builders import FOREST, a_started, called, kinds, opened
from tests.use_cases.recorded_history import NOON, Feed, past, written
from upgradeconsole.checks import history_is_kept_long_enough

pytestmark = pytest.mark.django_db
RATIO = Layout("ratio")
EQUAL = dict.fromkeys(FOREST, (0.02, 60.0))


@pytest.fixture
def feed(scene) -> Feed:
    return Feed()


# Recording.


def test_each_minute_keeps_what_happened_in_it(feed):
    feed.record_minutes(3)
    (first, one), (second, _two) = written()
    assert (first, second) == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    assert one == {RATIO: dict.fromkeys(sorted(FOREST), (1.0, 100.0))}


def test_a_reading_that_was_handed_out_twice_is_kept_once(feed):
    last = feed.record_minutes(2)
    feed.serve()
    assert feed.record(last + timedelta(seconds=3)) == []
    assert len(written()) == 1


def test_two_that_read_at_once_keep_one_reading(feed, monkeypatch):
    feed.record_minutes(2)
    feed.serve()
    at = NOON + timedelta(minutes=2, seconds=5)
    take = recording._look

    def while_another_is_faster(*args):
        monkeypatch.setattr(recording, "_look", take)
        feed.record(at)
        return take(*args)

    monkeypatch.setattr(recording, "_look", while_another_is_faster)
    assert feed.record(at) == []
    assert written()[-1][1][RATIO]["acorn"] == (1.0, 100.0)


def test_tenants_that_a_live_plan_has_touched_are_no_history(scene, feed):
    plan = a_started(scene)
    called(opened(plan))
    touched = set(
        TenantUpgrade.objects.filter(plan=plan).touched().values_list("tenant_key", flat=True)
    )
    assert touched
    feed.record_minutes(2)
    assert written()[-1][1][RATIO].keys() == set(FOREST) - touched
    Plan.objects.filter(pk=plan.pk).update(state="completed")
    feed.record_minutes(2, begin=NOON + timedelta(minutes=5))
    assert written()[-1][1][RATIO].keys() == set(FOREST)


def test_a_source_that_is_down_leaves_the_cursor_and_says_why(feed):
    feed.record_minutes(1)
    feed.source.fault = MetricUnavailable("source_down", "connection refused")
    feed.serve()
    assert feed.record(NOON + timedelta(minutes=1)) == []
    assert KpiHistoryCursor.objects.get().trouble == "connection refused"
    feed.source.fault = None
    feed.serve()
    feed.record(NOON + timedelta(minutes=2))
    assert written()[-1][1][RATIO]["acorn"] == (2.0, 200.0)
    assert KpiHistoryCursor.objects.get().trouble == ""


def test_after_a_long_gap_no_increment_covers_the_gap(feed):
    feed.record_minutes(2)
    feed.serve()
    feed.record(NOON + timedelta(minutes=20))
    assert len(written()) == 1
    feed.serve()
    feed.record(NOON + timedelta(minutes=21))
    assert written()[-1][1][RATIO]["acorn"] == (1.0, 100.0)


def test_a_counter_that_began_anew_drops_its_interval_alone(feed):
    feed.record_minutes(2)
    feed.serve()
    feed.counts["acorn"] = [0.0, 5.0]
    feed.record(NOON + timedelta(minutes=2, seconds=5))
    assert written()[-1][1][RATIO].keys() == set(FOREST) - {"acorn"}


# Roll-ups.


def test_five_minutes_and_hours_are_the_sum_of_their_minutes(feed):
    feed.record_minutes(66)
    fives, hours = written(FIVE_MINUTES), written(HOUR)
    assert len(fives) == 13
    assert [at for at, _ in hours] == [NOON]
    within = [seen for at, seen in written(MINUTE) if at < NOON + timedelta(hours=1)]
    assert hours[0][1] == merged(within)


def test_rolling_up_twice_changes_nothing(feed):
    last = feed.record_minutes(12)
    before = list(KpiRollup.objects.order_by("pk").values_list("step", "at", "body"))
    recording.roll_up("error_rate", last)
    assert list(KpiRollup.objects.order_by("pk").values_list("step", "at", "body")) == before


# Asking.


def test_what_is_asked_is_each_tenants_last_day_once(feed):
    last = feed.record_minutes(70)
    rates = kpi_history.exposure_rates("pay", "error_rate", ["acorn"], until=last)
    # The minute of the last reading is not over; the first reading had nothing before it.
    assert rates == {"acorn": (68.0, 6800.0)}
    assert kpi_history.baseline("error_rate", ["acorn", "nobody"], until=last) == {"acorn": 1.0}


def test_what_came_after_a_moment_does_not_count(feed):
    feed.record_minutes(10)
    until = NOON + timedelta(minutes=5)
    rates = kpi_history.exposure_rates("pay", "error_rate", ["acorn"], until=until)
    assert rates == {"acorn": (4.0, 400.0)}


def test_without_history_it_says_so(scene):
    stands = kpi_history.standing("error_rate", until=NOON)
    assert stands.phi is None
    assert stands.too_little.startswith("nothing was recorded of error_rate in the last 24 h")


def test_less_than_three_hours_have_no_dispersion_and_say_how_much_there_is(scene):
    past(NOON, minutes=120, rates=EQUAL)
    assert kpi_history.dispersion("pay", "error_rate", until=NOON) is None
    stands = kpi_history.standing("error_rate", until=NOON)
    assert stands.too_little == (
        "120 min of error_rate were recorded in the last 6 h; the scatter of its errors needs"
        " 180 min"
    )
    assert stands.seconds == 7200


def test_independent_errors_scatter_once_and_bursts_more(scene):
    past(NOON, minutes=240, rates=EQUAL)
    assert kpi_history.dispersion("pay", "error_rate", until=NOON) == pytest.approx(1, abs=0.35)
    assert kpi_history.standing("error_rate", until=NOON).too_little == ""


def test_a_tenant_with_bursts_makes_the_dispersion_large(scene):
    past(NOON, minutes=240, rates=EQUAL)
    for row in KpiRollup.objects.filter(step=FIVE_MINUTES)[::6]:
        burst = {key: RatioPoint(60 if key == "acorn" else 5, 300) for key in FOREST}
        row.body = packed(rolled(burst))
        row.save()
    assert kpi_history.dispersion("pay", "error_rate", until=NOON) > 3


# Forgetting.


def test_what_is_too_old_is_dropped_each_step_in_its_time(feed, settings):
    settings.KPI_MINUTES_KEPT_HOURS = 1
    last = feed.record_minutes(70)
    retention.forget_old(last + timedelta(minutes=30))
    kept = written(MINUTE)
    assert kept[0][0] >= last + timedelta(minutes=30) - timedelta(hours=1)
    assert len(written(FIVE_MINUTES)) == 13
    retention.forget_old(last + timedelta(days=8))
    assert not written(FIVE_MINUTES)
    assert written(HOUR)
    retention.forget_old(last + timedelta(days=91))
    assert not written(HOUR)


def test_old_looks_are_dropped_and_the_trail_says_that_nothing_can_be_replayed(scene, settings):
    plan = a_started(scene)
    KpiSample.objects.create(plan=plan, kpi="error_rate", at=NOON, source="fleet")
    JudgedLook.objects.create(plan=plan, at=NOON, revision=1, canary=1)
    later = NOON + timedelta(days=settings.LOOKS_KEPT_DAYS + 1)
    looks_retention.forget_looks(later)
    assert KpiSample.objects.exists()
    Plan.objects.filter(pk=plan.pk).update(state="completed", ended_at=NOON)
    looks_retention.forget_looks(later)
    looks_retention.forget_looks(later)
    assert not KpiSample.objects.exists()
    assert not JudgedLook.objects.exists()
    assert kinds(plan).count("looks_dropped") == 1
    assert "cannot be replayed" in Event.objects.get(kind="looks_dropped").sentence


# Asking for it.


@pytest.fixture
def real_source(scene, settings, monkeypatch):
    text = settings.DICTIONARY_FILE.read_text()
    one = '{"kind": "prometheus_text", "url": "http://127.0.0.1:9/metrics"}'
    settings.DICTIONARY_FILE.write_text(text.replace('{"kind": "simulated"}', one))
    monkeypatch.setattr(recording, "_asked", {})


def test_the_watch_asks_once_a_minute(real_source, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(recording.surroundings.here(), "monotonic", lambda: clock[0])
    for seconds in (0, 1, 58, 2):
        clock[0] += seconds
        recording.hand_out(NOON)
    assert OrmQ.objects.count() == 2


def test_it_can_be_switched_off(real_source, settings):
    settings.KPI_HISTORY = False
    recording.hand_out(NOON)
    assert not OrmQ.objects.exists()


def test_history_that_is_dropped_too_soon_is_warned_of(settings):
    assert history_is_kept_long_enough() == []
    settings.KPI_HOURS_KEPT_DAYS = 1
    settings.KPI_MINUTES_KEPT_HOURS = 0
    found = history_is_kept_long_enough()
    assert [warning.id for warning in found] == ["upgradeconsole.W014"] * 2
    settings.KPI_HISTORY = False
    assert history_is_kept_long_enough() == []


def test_a_broken_dictionary_asks_for_nothing(real_source, settings):
    settings.DICTIONARY_FILE.write_text("{")
    recording.hand_out(NOON)
    assert not OrmQ.objects.exists()


def test_the_task_records_and_forgets(scene, monkeypatch):
    feed = Feed()
    monkeypatch.setattr(recording, "_configured", lambda spec: feed.source)
    past(NOON - timedelta(days=200), minutes=60, rates=EQUAL)
    for minute in range(2):
        feed.serve()
        with time_machine.travel(NOON + timedelta(minutes=minute), tick=False):
            tasks.record_history()
    assert [at for at, _ in written()] == [NOON + timedelta(minutes=1)]
