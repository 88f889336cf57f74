"""Which addresses the server may connect to on a caller's behalf: public ones, and those that its operator allows."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Range = IPv4Network | IPv6Network

UNICAST6 = IPv6Network("2000::/3")  # all that is handed out of IPv6; loopback, local and multicast lie outside
TRANSLATED = IPv6Network("64:ff9b::/96")  # NAT64: the last 32 bits are the IPv4 address behind it

# What `is_global` takes for public, or did in one of the Python versions that run this.
REFUSED = [
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's platform services, at a public address
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service is in it
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4, which carries an IPv4 address of anybody's choice
        "3fff::/20",  # documentation
    )
]


def permitted(address: Address, allow: Sequence[Range]) -> bool:
    """Whether it is public, or within `allow`."""
    reached = _reached(address)
    if any(address in network or reached in network for network in allow):
        return True
    return _is_public(reached)


def _reached(address: Address) -> Address:
    """Where a connection really goes: IPv6 has spellings of IPv4 addresses."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if any(address in network for network in REFUSED):
        return False
    if isinstance(address, IPv6Address) and address not in UNICAST6:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
