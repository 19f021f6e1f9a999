"""The address that people type for the console."""

import pytest

from upgradeconsole.served_at import BadAddress, ServedAt, host_name, served_at


@pytest.mark.parametrize(
    ("typed", "host", "url"),
    [
        ("https://console.example.org", "console.example.org", "https://console.example.org"),
        ("https://Console.Example.org/", "console.example.org", "https://console.example.org"),
        ("http://127.0.0.1:8000", "127.0.0.1", "http://127.0.0.1:8000"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]", "https://[2001:db8::1]:8443"),
        ("https://[2001:DB8:0::1]", "[2001:db8::1]", "https://[2001:db8::1]"),
        ("https://console.example.org:443", "console.example.org", "https://console.example.org"),
        ("http://console:443", "console", "http://console:443"),
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
        ("https://example.org:0", "no port 0"),
        ("https://[::1", "Invalid IPv6"),
        ("https://[fe80::1%25eth0]", "no host's name|not permitted"),
        ("https://*", "no host's name"),
        ("https://.example.org", "no host's name"),
        ("https://b\u00fccher.example", "as xn--"),
        ("https://a b", "no host's name"),
        ("https://under_score.example", "no host's name"),
    ],
)
def test_what_no_browser_would_find_is_refused(typed: str, says: str) -> None:
    with pytest.raises(BadAddress, match=says):
        served_at(typed)


@pytest.mark.parametrize("typed", ["https://other.example.org", "other:8443", "*", ".example.org"])
def test_another_name_of_the_console_is_a_name_alone(typed: str) -> None:
    with pytest.raises(BadAddress, match="without scheme and port"):
        host_name(typed)
