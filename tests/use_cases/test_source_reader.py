"""Reading sources: each in its own thread, a failing one left alone, all of it written down."""

import threading
import time
from datetime import timedelta

import pytest

from batches.metric_sources import MetricUnavailable, Selector, Series, SourceSpec
from batches.metric_sources.simulated_source import SimulatedSource
from batches.models import SourceState
from batches.sources.breaker import FAILURES, Breaker
from batches.sources.reader import SourceAnswer, SourceReader
from batches.sources.states import SourceStates
from tests.web.api_scene import now

REQUESTS = Selector(metric="requests_total")


class Blocking(SimulatedSource):
    """A source that does not give its thread back: a library without async, a busy parser."""

    def __init__(self, name):
        super().__init__(name)
        self.released = threading.Event()

    async def read(self, selectors, *, timeout):
        self.released.wait(30)
        return await super().read(selectors, timeout=timeout)


class Bench:
    """A reader over simulated sources."""

    def __init__(self):
        self.sources = {}
        self.answered = threading.Event()
        self.reader = SourceReader(on_answer=self.answered.set, build=self.build)

    def build(self, spec):
        return self.sources.setdefault(spec.name, SimulatedSource(spec.name, {REQUESTS: []}))

    def read(self, name, **options):
        self.reader.read(SourceSpec(name, "simulated", options), [REQUESTS])

    def next_answer(self) -> SourceAnswer:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if found := self.reader.finished():
                [answer] = found
                return answer
            self.answered.wait(0.01)
        raise AssertionError("no answer came")

    def answer(self, name, **options) -> SourceAnswer:
        self.read(name, **options)
        return self.next_answer()


@pytest.fixture
def bench():
    made = Bench()
    made.reader.start()
    yield made
    for source in made.sources.values():
        if isinstance(source, Blocking):
            source.released.set()
    made.reader.stop()


def test_fault_09_a_source_that_blocks_its_thread_keeps_no_other_one_waiting(bench):
    bench.sources["stuck"] = Blocking("stuck")
    bench.read("stuck")
    answer = bench.answer("quick")
    assert (answer.source, answer.series) == ("quick", {REQUESTS: []})
    assert bench.reader.is_reading("stuck")
    bench.sources["stuck"].released.set()
    assert bench.next_answer().source == "stuck"
    assert not bench.reader.is_reading("stuck")


def test_a_source_that_hangs_is_cut_off_by_its_own_time_out(bench):
    hung = bench.sources["hung"] = SimulatedSource("hung")
    hung.delay_seconds = 60
    answer = bench.answer("hung", timeout_seconds=0.05)
    assert (answer.series, answer.unavailable.cause) == (None, "timeout")


def test_fault_08_a_failing_source_is_left_alone_then_tried_by_one_read(bench, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("batches.runtime.surroundings._here", At(clock))
    broken = bench.sources["broken"] = SimulatedSource("broken")
    broken.fault = MetricUnavailable("source_down", "HTTP 503")
    for _read in range(FAILURES):
        answer = bench.answer("broken")
        assert answer.unavailable.sentence == "HTTP 503"
    assert answer.breaker.state == "open"
    answer = bench.answer("broken")
    assert (answer.asked, answer.unavailable.cause) == (False, "source_down")
    assert "not asked: 5 reads failed in a row (HTTP 503)" in answer.unavailable.sentence
    assert broken.reads == FAILURES
    clock[0] += 2.1
    broken.fault = None
    answer = bench.answer("broken")
    assert (answer.asked, answer.unavailable, answer.breaker) == (True, None, Breaker())


def test_a_source_that_is_described_anew_is_tried_at_once(bench):
    broken = bench.sources["broken"] = SimulatedSource("broken")
    broken.fault = MetricUnavailable("unauthorized", "HTTP 401")
    for _read in range(FAILURES):
        bench.answer("broken")
    broken.fault = None
    assert bench.answer("broken").asked is False
    assert bench.answer("broken", timeout_seconds=3).unavailable is None


def test_an_adapter_that_fails_unforeseen_or_cannot_be_made_is_a_bad_answer(bench):
    class Wrong(SimulatedSource):
        async def read(self, selectors, *, timeout):
            raise ZeroDivisionError("by zero")

    bench.sources["wrong"] = Wrong("wrong")
    assert bench.answer("wrong").unavailable.cause == "bad_answer"
    assert not bench.reader.is_reading("wrong")


def test_what_is_asked_before_the_start_is_read_then():
    bench = Bench()
    bench.read("early")
    assert bench.reader.finished() == []
    bench.reader.start()
    assert bench.next_answer().source == "early"
    bench.reader.stop()


class At:
    """The machine with a steady clock that stands where it is told to."""

    def __init__(self, clock):
        from batches.runtime.surroundings import Machine

        self._machine, self._clock = Machine(), clock

    def __getattr__(self, name):
        return getattr(self._machine, name)

    def monotonic(self):
        return self._clock[0]


# Written down.


def an_answer(cause="", *, state="closed", failures=0, at=None, asked=True):
    broken = MetricUnavailable(cause, f"it is {cause}") if cause else None
    series = None if broken else {REQUESTS: [Series({}, 1)]}
    breaker = Breaker(state, failures)
    return SourceAnswer("fleet", at or now(), series, broken, breaker, asked)


@pytest.mark.django_db
def test_the_state_of_a_source_is_written_when_it_changes_and_now_and_then():
    states, at = SourceStates(), now()
    states.note([an_answer(at=at)], at)
    row = SourceState.objects.get()
    assert (row.state, row.cause, row.since, row.answered_at) == ("closed", "", at, at)
    states.note([an_answer(at=at + timedelta(seconds=5))], at + timedelta(seconds=5))
    assert SourceState.objects.get().read_at == at
    soon = at + timedelta(seconds=6)
    states.note([an_answer("timeout", failures=1, at=soon)], soon)
    row = SourceState.objects.get()
    assert (row.cause, row.sentence, row.since) == ("timeout", "it is timeout", soon)
    assert (row.answered_at, row.failures) == (at, 1)
    later = soon + timedelta(seconds=11)
    states.note([an_answer("timeout", failures=3, at=later)], later)
    row = SourceState.objects.get()
    assert (row.failures, row.since, row.read_at) == (3, soon, later)


@pytest.mark.django_db
def test_a_read_that_was_not_made_is_no_read():
    states, at = SourceStates(), now()
    states.note([an_answer("source_down", state="open", failures=5, at=at)], at)
    later = at + timedelta(seconds=30)
    left = an_answer("source_down", state="open", failures=5, at=later, asked=False)
    states.note([left], later)
    assert SourceState.objects.get().read_at == at
