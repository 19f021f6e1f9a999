"""Where an act comes from: the trace header, the address behind proxies, and the context."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.trail.trace import (
    Origin,
    acting_from,
    client_address,
    new_trace_id,
    note_origin,
    origin,
    trace_id_of,
    traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f" 00-{TRACE}-{SPAN}-00 ", TRACE),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-adds", TRACE),
        (f"00-{TRACE}-{SPAN}-01-more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        ("", ""),
    ],
)
def test_a_traceparent_is_taken_as_w3c_has_it(header, found):
    assert trace_id_of(header) == found


def test_what_is_answered_can_be_taken_again():
    trace_id = new_trace_id()
    assert trace_id_of(traceparent(trace_id)) == trace_id


@given(st.text(max_size=80))
def test_no_header_is_an_error(text):
    assert trace_id_of(text) == "" or len(trace_id_of(text)) == 32
    assert client_address(remote="192.0.2.1", forwarded=text, proxies=0) == "192.0.2.1"


@pytest.mark.parametrize(
    ("remote", "forwarded", "proxies", "found"),
    [
        ("192.0.2.1", "", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", 0, "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", 1, "198.51.100.9"),
        ("10.0.0.1", "203.0.113.66, 198.51.100.9", 1, "198.51.100.9"),
        ("10.0.0.1", "203.0.113.66, 198.51.100.9, 10.0.0.2", 2, "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9", 2, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9:4711", 1, "198.51.100.9"),
        ("10.0.0.1", "[2001:DB8::1]:443", 1, "2001:db8::1"),
        ("10.0.0.1", "<script>", 1, "10.0.0.1"),
        ("fe80::1%eth0", "", 0, "fe80::1"),
        ("", "", 0, ""),
    ],
)
def test_only_what_our_own_proxies_say_counts(remote, forwarded, proxies, found):
    assert client_address(remote=remote, forwarded=forwarded, proxies=proxies) == found


def test_what_is_said_holds_inside_and_nothing_is_left_behind():
    with acting_from(ip="192.0.2.1", trace_id=TRACE):
        note_origin(token="pipeline")
        with acting_from(grant="g1"):
            assert origin() == Origin("192.0.2.1", TRACE, token="pipeline", grant="g1")
        assert origin().grant == ""
    assert origin() == Origin()


def test_a_thread_of_the_engine_knows_of_no_address():
    seen = []
    with acting_from(ip="192.0.2.1"):
        thread = threading.Thread(target=lambda: seen.append(origin()))
        thread.start()
        thread.join()
    assert seen == [Origin()]
