"""Which addresses the server may connect to on a caller's behalf: public ones, and those that its operator allows."""

from __future__ import annotations

import socket
import unicodedata
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

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

LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
METADATA = (IPv4Address("169.254.169.254"),)  # what clouds tell their machines, credentials among it
# Names whose addresses are known without asking; each stands for those below it, too.
KNOWN_NAMES: dict[str, Sequence[Address]] = {
    "localhost": LOCALHOST,
    "localhost.localdomain": LOCALHOST,
    "ip6-localhost": LOCALHOST,
    "ip6-loopback": LOCALHOST,
    "metadata.google.internal": METADATA,
    "metadata.goog": METADATA,
    "instance-data.ec2.internal": METADATA,
}
DOTS = str.maketrans("\u3002\uff0e\uff61", "...")  # which IDNA takes for one


def permitted(address: Address, allow: Sequence[Range]) -> bool:
    """Whether it is public, or within `allow`."""
    reached = _reached(address)
    if any(address in network or reached in network for network in allow):
        return True
    return _is_public(reached)


def evident(host: str) -> Sequence[Address]:
    """The addresses that a host can be seen to have without asking anybody: none for an ordinary name.

    It reads more spellings than connect to anything, and none that is an ordinary name: seeing is no leave to connect.
    """
    name = unicodedata.normalize("NFKC", host.translate(DOTS)).strip("[]").rstrip(".").lower()
    literal = _literal(name)
    if literal is not None:
        return [literal]
    return next((found for known, found in KNOWN_NAMES.items() if name == known or name.endswith(f".{known}")), ())


def _literal(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(text))  # 127.1, 2130706433, 0x7f.1 and 0177.1, as resolvers read them
    except (OSError, ValueError):
        return None


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
