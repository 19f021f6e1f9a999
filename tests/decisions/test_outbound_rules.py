"""What the console may connect to: the rules, the file they are written in, the sentences."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upgradeconsole.outbound import (
    Opening,
    OutboundRejected,
    OutboundRules,
    Purpose,
    RulesFile,
    load_outbound,
    refusal_of,
)
from upgradeconsole.outbound.addresses import is_public, never, unmapped
from upgradeconsole.outbound.lookup import hosts_file_addresses

SHUT = OutboundRules("/etc/console/outbound.yaml")
ALL_PORTS = ((1, 65_535),)
EVERYTHING: tuple[Purpose, ...] = ("deployers", "metrics", "webhooks")
WIDE_OPEN = OutboundRules(
    openings=tuple(
        Opening(ip_network(network), ALL_PORTS, EVERYTHING)
        for network in (
            *("0.0.0.0/0", "10.0.0.0/8", "127.0.0.0/8", "100.64.0.0/10", "192.168.0.0/16"),
            *("172.16.0.0/12", "::/0", "::1/128", "fc00::/7"),
        )
    )
)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://169.254.169.254/latest/meta-data/", "metadata service"),
        ("http://[fd00:ec2::254]/", "metadata service"),
        ("http://168.63.129.16/", "metadata service"),
        ("http://[::ffff:169.254.169.254]/", "metadata service"),
        ("http://[64:ff9b::a9fe:a9fe]/", "metadata service"),
        ("http://[2002:a9fe:a9fe::]/", "metadata service"),
        ("http://0.0.0.0:8080/", "unspecified"),
        ("http://0.1.2.3:8080/", "unspecified"),
        ("http://[::]:8080/", "unspecified"),
        ("http://[fe80::1]/", "link-local"),
        ("http://224.0.0.1/", "multicast"),
        ("http://[ff02::1]/", "multicast"),
        ("http://255.255.255.255/", "broadcast"),
        ("http://240.0.0.1/", "reserved"),
        ("http://2130706433/", "address in disguise"),
        ("http://0177.0.0.1/", "address in disguise"),
        ("http://0x7f000001/", "address in disguise"),
        ("http://0x7f.1/", "address in disguise"),
        ("http://127.1/", "address in disguise"),
        ("http://127.0.0.01/", "address in disguise"),
        ("http://1.2.3.4.5/", "address in disguise"),
        ("http://localhost./", "ends in a dot"),
        ("http://127.0.0.1./", "ends in a dot"),
        ("http://example.com@127.0.0.1/", "log-in before '@'"),
        ("http://user:pass@example.com/", "log-in before '@'"),
        ("http://@example.com/", "log-in before '@'"),
        ("http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/", "not ASCII"),
        ("http://ex\u00e4mple.com/", "xn--"),
        ("http://example.com\uff0e/", "not ASCII"),
        ("http://example.com/\r\nHost: inside", "line break"),
        ("http://example.com\\@127.0.0.1/", "backslash"),
        ("http://exa mple.com/", "blank"),
        ("http://[fe80::1%25eth0]/", "no IPv6 address"),
        ("http://[::1/", "not a URL"),
        ("http://example..com/", "not the name of a host"),
        ("http://-example.com/", "not the name of a host"),
        ("http://127%2e0.0.1/", "address in disguise"),
        ("http:///path", "no host"),
        ("http://example.com:0/", "port 0"),
        ("http://example.com:99999/", "not a URL"),
        ("file:///etc/passwd", "file: is not spoken here"),
        ("gopher://127.0.0.1:70/", "gopher: is not spoken here"),
        ("ftp://example.com/", "ftp: is not spoken here"),
        ("unix:/run/docker.sock", "unix: is not spoken here"),
        ("//example.com/", "no scheme"),
        ("", "no scheme"),
        (f"http://example.com/{'a' * 9000}", "longer than"),
    ],
)
def test_no_setting_lets_these_through(url, said):
    for rules in (SHUT, WIDE_OPEN):
        assert said in refusal_of(url, rules, "webhooks")


@pytest.mark.parametrize(
    ("url", "said", "line"),
    [
        ("http://127.0.0.1:9700/", "loopback", "127.0.0.1/32, ports: [9700]"),
        ("http://[::1]:9700/", "loopback", '"::1/128", ports: [9700]'),
        ("http://[::ffff:127.0.0.1]:80/", "loopback", "127.0.0.1/32, ports: [80]"),
        ("http://[::127.0.0.1]/", "loopback", "127.0.0.1/32, ports: [80]"),
        ("http://[64:ff9b::7f00:1]/", "loopback", "127.0.0.1/32, ports: [80]"),
        ("http://[64:ff9b:1::a00:1]/", "a private network", "10.0.0.1/32, ports: [80]"),
        ("http://[2002:7f00:1::]/", "loopback", "127.0.0.1/32, ports: [80]"),
        ("https://10.1.2.3/", "a private network", "10.1.2.3/32, ports: [443]"),
        ("http://172.31.0.1/", "a private network", "172.31.0.1/32, ports: [80]"),
        ("http://192.168.0.1/", "a private network", "192.168.0.1/32, ports: [80]"),
        ("http://100.64.0.1/", "a private network", "100.64.0.1/32, ports: [80]"),
        ("http://[fd00::1]/", "a private network", '"fd00::1/128", ports: [80]'),
        ("http://[2001:db8::1]/", "a private network", '"2001:db8::1/128", ports: [80]'),
        ("http://8.8.8.8:22/", "port 22 is none of 80", "8.8.8.8/32, ports: [22]"),
    ],
)
def test_what_only_the_administrator_opens_is_refused_with_the_line_that_opens_it(url, said, line):
    why = refusal_of(url, SHUT, "deployers")
    assert said in why
    assert f"'- {{cidr: {line}, purpose: deployers}}' under 'allow:'" in why
    assert "/etc/console/outbound.yaml" in why
    written = why.partition("by the line '")[2].partition("' under")[0]
    opened = load_outbound(f"allow:\n  {written}\n", file="outbound.yaml")
    assert refusal_of(url, opened, "deployers") == ""
    assert refusal_of(url, opened, "webhooks"), "opened for deployers only"


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com/hook?a=b%20c", "http://example.com:8080", "https://8.8.8.8/x"),
        *("HTTPS://EXAMPLE.COM", "https://xn--exmple-cua.com/", "https://[2606:4700::1]:8443/"),
        *("http://a_b.example.com/", "http://prometheus/", "http://1.example.com/"),
    ],
)
def test_public_addresses_and_names_need_no_line(url):
    assert refusal_of(url, SHUT, "webhooks") == ""


def test_a_line_for_the_whole_internet_opens_no_private_network():
    rules = load_outbound(
        'allow: [{cidr: 0.0.0.0/0, ports: ["1-65535"], purpose: webhooks}]', file="o"
    )
    assert refusal_of("http://8.8.8.8:22/", rules, "webhooks") == ""
    assert "loopback" in refusal_of("http://127.0.0.1:8080/", rules, "webhooks")
    assert "private" in refusal_of("http://10.0.0.1:8080/", rules, "webhooks")


FORMS = [
    lambda v4: IPv6Address(f"::ffff:{v4}"),
    lambda v4: IPv6Address(int(IPv6Address("64:ff9b::")) + int(v4)),
    lambda v4: IPv6Address(int(IPv6Address("64:ff9b:1::")) + int(v4)),
    lambda v4: IPv6Address(int(IPv6Address("2002::")) + (int(v4) << 80)),
]


@given(st.ip_addresses(v=4), st.sampled_from(FORMS))
def test_an_ipv4_address_is_judged_alike_in_every_disguise(address, disguise):
    worn = disguise(address)
    assert unmapped(worn) == address
    assert is_public(worn) == is_public(address)
    if never(address):
        assert never(worn)
    assert bool(SHUT.refusal(worn, 443, "metrics")) == bool(SHUT.refusal(address, 443, "metrics"))


@given(st.ip_addresses(), st.integers(1, 65_535), st.sampled_from(EVERYTHING))
def test_no_set_of_openings_opens_what_is_never_reached(address, port, purpose):
    if never(address):
        assert WIDE_OPEN.refusal(address, port, purpose)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_knows_to_be_private(address):
    real = unmapped(address)
    if real.is_private or real.is_multicast or real.is_reserved or real.is_link_local:
        assert not is_public(address)


@given(st.ip_addresses(v=4), st.integers(8, 32), st.integers(1, 65_535), st.integers(1, 65_535))
def test_an_opening_opens_its_own_addresses_and_ports_and_no_other(address, length, opened, port):
    network = ipaddress.ip_network(f"10.20.0.0/{max(length, 14)}")
    rules = OutboundRules(openings=(Opening(network, ((opened, opened),), ("metrics",)),))
    inside = IPv4Address(int(network[0]) + int(address) % network.num_addresses)
    assert (rules.refusal(inside, port, "metrics") == "") == (port == opened)
    outside = ip_address("10.30.0.1")
    assert rules.refusal(outside, opened, "metrics")


# The file.


def problems_of(text):
    with pytest.raises(OutboundRejected) as rejected:
        load_outbound(text, file="outbound.yaml")
    return [str(problem) for problem in rejected.value.problems]


def test_the_file_is_read_with_single_values_and_lists():
    rules = load_outbound(
        """
ca_file: /etc/ssl/own.pem
search_domains: true
allow:
  - {cidr: 10.0.0.0/8, ports: 443, purpose: deployers, note: "platforms"}
  - {cidr: "fd00::/8", ports: [9090, "9700-9799"], purpose: [metrics, webhooks]}
""",
        file="outbound.yaml",
    )
    assert rules.ca_file == "/etc/ssl/own.pem"
    assert rules.search_domains is True
    assert rules.openings == (
        Opening(ip_network("10.0.0.0/8"), ((443, 443),), ("deployers",), "platforms"),
        Opening(ip_network("fd00::/8"), ((9090, 9090), (9700, 9799)), ("metrics", "webhooks")),
    )


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "allow:\n", "allow: []\n", "allow:\n  # - x\n"]
)
def test_an_empty_file_opens_nothing(text):
    assert load_outbound(text, file="o").openings == ()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{cidr: 10.0.0.0/8, ports: 443}", "line 2: allow[0].purpose: 'purpose' is missing"),
        ("{cidr: 10.0.0.0/8, purpose: metrics}", "'ports' is missing"),
        ("{ports: 443, purpose: metrics}", "'cidr' is missing"),
        ("{cidr: 10.0.0.1/8, ports: 443, purpose: metrics}", "no bits set behind its length"),
        ("{cidr: example.com, ports: 443, purpose: metrics}", "is no network"),
        ("{cidr: 169.254.0.0/16, ports: 80, purpose: metrics}", "is never opened"),
        ("{cidr: 169.254.169.254/32, ports: 80, purpose: metrics}", "is never opened"),
        ("{cidr: 168.63.129.16/32, ports: 80, purpose: metrics}", "is never opened"),
        ("{cidr: 0.0.0.0/32, ports: 80, purpose: metrics}", "is never opened"),
        ("{cidr: 10.0.0.0/7, ports: 80, purpose: metrics}", "public and private addresses"),
        ("{cidr: 10.0.0.0/8, ports: 0, purpose: metrics}", "write ports from 1 to 65535"),
        ('{cidr: 10.0.0.0/8, ports: "9-8", purpose: metrics}', "write ports from 1 to 65535"),
        ("{cidr: 10.0.0.0/8, ports: [a], purpose: metrics}", "write ports from 1 to 65535"),
        ("{cidr: 10.0.0.0/8, ports: 80, purpose: all}", "'all' is no purpose"),
        ("{cidr: 10.0.0.0/8, port: 80, ports: 80, purpose: metrics}", "did you mean 'ports'"),
        ("10.0.0.0/8", "write a mapping here"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(entry, said):
    assert said in "\n".join(problems_of(f"allow:\n  - {entry}\n"))


def test_all_problems_are_told_at_once():
    told = problems_of("alow: []\nsearch_domains: perhaps\nallow:\n  - {cidr: x}\n")
    assert [line.partition(":")[0] for line in told] == ["line 1", "line 2"] + ["line 4"] * 3


# The file while the console runs.


def test_the_file_counts_from_the_next_connection_on(tmp_path):
    file = tmp_path / "outbound.yaml"
    rules = RulesFile(file)
    here = ip_address("127.0.0.1")
    assert rules().refusal(here, 9700, "metrics"), "no file opens nothing"
    file.write_text("allow: [{cidr: 127.0.0.0/8, ports: 9700, purpose: metrics}]")
    assert rules().refusal(here, 9700, "metrics") == ""
    file.write_text("allow: [{cidr: 127.0.0.0/8, ports: 97")
    assert rules().refusal(here, 9700, "metrics") == "", "as last read, while somebody edits"
    file.unlink()
    assert rules().refusal(here, 9700, "metrics")


def test_a_file_that_was_never_readable_opens_nothing_and_says_so(tmp_path):
    file = tmp_path / "outbound.yaml"
    file.write_text("allow: [{cidr: 127.0.0.0/8}]")
    why = RulesFile(file)().refusal(ip_address("127.0.0.1"), 9700, "metrics")
    assert f"{file} cannot be used, so it opens nothing: line 1" in why


def test_names_of_the_hosts_file_are_known(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.1.1.1 Prom prom.internal # prom2\n::1 prom\nx prom\n")
    assert hosts_file_addresses("prom", hosts) == [ip_address("10.1.1.1"), ip_address("::1")]
    assert hosts_file_addresses("prom2", hosts) == []
    assert hosts_file_addresses("prom", Path("/no/such/file")) == []
