"""What kind of place an IP address is: public, private, or never to be reached."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's wire server
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # ECS
        "169.254.170.23",  # EKS
        "192.0.0.192",  # Oracle, of old
        "fd00:ec2::254",  # EC2
        "fd00:ec2::23",  # EKS
        "fd20:ce::254",  # Google
    )
)
# The first that holds an address names it.
_NEVER: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(text), what)
    for text, what in (
        ("0.0.0.0/8", "the unspecified address, which means this machine"),
        ("::/128", "the unspecified address, which means this machine"),
        ("169.254.0.0/16", "a link-local address, where clouds keep their credentials"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address, which was given up"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
# What nobody in the Internet owns. Not `is_global`: Python's versions differ about it.
_PRIVATE: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            # Protocol assignments, documentation, old relays, benchmarks.
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24"),
            *("::1/128", "fc00::/7", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
            *("3fff::/20", "5f00::/16"),
        ),
    )
)
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE: Final = IPv6Network("::/96")
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself.

    Mapped, compatible, NAT64 and 6to4 forms all end at the IPv4 address that they carry.
    """
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    carries_one = any(address in network for network in _NAT64) or (
        # :: and ::1 are addresses of their own.
        address in _COMPATIBLE and int(address) > 1
    )
    return IPv4Address(int(address) & 0xFFFF_FFFF) if carries_one else address


def never(address: Address) -> str:
    """Return what makes this a place that no setting opens; '' for all others."""
    for form in dict.fromkeys((address, unmapped(address))):
        if form in _METADATA:
            return "a cloud's metadata service, which hands out credentials"
        for network, what in _NEVER:
            if _in(form, network):
                return what
    return ""


def is_public(address: Address) -> bool:
    """Tell whether anybody in the Internet may own the address."""
    real = unmapped(address)
    if isinstance(real, IPv6Address) and real not in _PUBLIC_IPV6:
        return False
    return not (never(real) or any(_in(real, network) for network in _PRIVATE))


def is_private_network(network: Network) -> bool:
    """Tell whether the network lies within one private block, with no public address in it."""
    if isinstance(network, IPv6Network) and not network.overlaps(_PUBLIC_IPV6):
        return True
    return any(_within(network, block) for block in _PRIVATE)


def is_mixed(network: Network) -> bool:
    """Tell whether the network holds public and private addresses; the whole Internet may."""
    if network.prefixlen == 0 or is_private_network(network):
        return False
    return any(block.version == network.version and _within(block, network) for block in _PRIVATE)


def is_never(network: Network) -> bool:
    """Tell whether nothing in the network can ever be reached."""
    return any(_within(network, block) for block, _what in _NEVER) or (
        network.num_addresses == 1 and bool(never(network.network_address))
    )


def kind_of(address: Address) -> str:
    """Return in words what kind of address this is that is not public."""
    real = unmapped(address)
    if any(_in(real, network) for network in _LOOPBACK):
        return "this machine itself (loopback)"
    return "a private network"


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _within(network: Network, block: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(block, IPv4Network) and network.subnet_of(block)
    return isinstance(block, IPv6Network) and network.subnet_of(block)


def as_address(text: str) -> Address | None:
    """Return the address that the text is in its one canonical spelling, else None."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        return None
    return found
