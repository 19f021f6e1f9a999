"""The address that people type for the console."""

import pytest

from upgradeconsole.served_at import BadAddress, ServedAt, served_at


@pytest.mark.parametrize(
    ("typed", "host", "url"),
    [
        ("https://console.example.org", "console.example.org", "https://console.example.org"),
        ("https://Console.Example.org/", "console.example.org", "https://console.example.org"),
        ("http://127.0.0.1:8000", "127.0.0.1", "http://127.0.0.1:8000"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_address_tells_its_host(typed: str, host: str, url: str) -> None:
    assert served_at(typed) == ServedAt(url, host, url.startswith("https://"))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("console.example.org", "write it like https://console.example.org"),
        ("", "write it like"),
        ("ftp://console.example.org", "write it like"),
        ("https://example.org/console", "a host of its own"),
        ("https://ada@example.org", "a host of its own"),
        ("https://example.org:99999", "out of range"),
    ],
)
def test_what_no_browser_would_find_is_refused(typed: str, says: str) -> None:
    with pytest.raises(BadAddress, match=says):
        served_at(typed)
