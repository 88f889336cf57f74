from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from dispatch.addresses import permitted

INSIDE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "this host": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0", "fec0::1"],
    "metadata services": ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "broadcast and reserved": ["255.255.255.255", "240.0.0.1", "100::1", "5f00::1", "4000::1"],
    "documentation, benchmarks": [
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "2001:db8::1",
        "3fff::1",
    ],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "::ffff:a9fe:a9fe"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8"],
    "6to4 and Teredo": ["2002:7f00:1::", "2002:808:808::1", "2001:0:53aa:64c::1", "192.88.99.1"],
}
OUTSIDE = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860:4860::8888", "2606:4700::1111"]


@pytest.mark.parametrize("address", [address for kind in INSIDE.values() for address in kind])
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not permitted(ip_address(address), [])


@pytest.mark.parametrize("address", [*OUTSIDE, "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_a_public_address_is_permitted_however_it_is_spelled(address: str) -> None:
    assert permitted(ip_address(address), [])


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::5"])
def test_what_the_operator_allows_is_permitted(address: str) -> None:
    assert permitted(ip_address(address), [ip_network("10.1.0.0/16"), ip_network("fd00::/64")])


@pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "fd00:1::5"])
def test_what_the_operator_allows_opens_nothing_else(address: str) -> None:
    assert not permitted(ip_address(address), [ip_network("10.1.0.0/16"), ip_network("fd00::/64")])
