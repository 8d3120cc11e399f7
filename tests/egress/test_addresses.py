"""Which addresses a stranger's URL may lead to: every special-purpose block is out, in every disguise."""

import ipaddress
import random

import pytest

from app.egress.addresses import is_public, parse_network

FORBIDDEN = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",  # Alibaba's metadata
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # Azure's wire server
    "169.254.0.1",
    "169.254.169.254",  # most providers' metadata
    "169.254.170.2",  # Amazon's tasks
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # Oracle's metadata
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",  # NAT64
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.1.2.3",
    "::ffff:0:10.1.2.3",
    "::10.1.2.3",
    "2002:a01:203::1",
    "2001:0:5db8:d822::f5fe:fdfc",  # Teredo of 10.1.2.3, by a public relay
    "2001:0:a01:203::a247:27dd",  # and of a public client, by a relay at 10.1.2.3
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",  # Teredo
    "2001:10::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # Amazon's metadata
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)
PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "::8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b::5db8:d822",
    "2002:808:808::1",
    "2001:0:5db8:d822::a247:27dd",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:800::200e",
)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_what_is_not_the_public_internet_is_forbidden(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_allowed_up_to_its_edges(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_nothing_is_public_that_the_standard_library_knows_for_private() -> None:
    chance = random.Random(5)  # noqa: S311 - draws cases, guards nothing
    for _ in range(50_000):
        bits = 32 if chance.random() < 0.5 else 128
        address = ipaddress.ip_address(chance.getrandbits(bits).to_bytes(bits // 8))
        if is_public(address):
            # 6to4 and Teredo are not of the global internet to the library, whatever is in them.
            embeds = isinstance(address, ipaddress.IPv6Address) and (address.sixtofour or address.teredo)
            assert address.is_global or embeds
            assert not address.is_multicast
            assert not address.is_loopback


def test_an_address_is_as_public_as_the_ipv4_address_in_it() -> None:
    chance = random.Random(6)  # noqa: S311 - draws cases, guards nothing
    some = [ipaddress.IPv4Address(one) for one in (*FORBIDDEN, *PUBLIC) if ":" not in one]
    some += [ipaddress.IPv4Address(chance.getrandbits(32)) for _ in range(2_000)]
    for inner in some:
        bits = int(inner)
        for outer in (
            0xFFFF << 32 | bits,
            0xFFFF << 48 | bits,
            bits,
            0x64FF9B << 96 | bits,
            0x2002 << 112 | bits << 80 | 1,
            0x2001 << 112 | 0x08080808 << 64 | ~bits & 0xFFFFFFFF,
            0x2001 << 112 | bits << 64 | ~0x08080808 & 0xFFFFFFFF,
        ):
            assert is_public(ipaddress.IPv6Address(outer)) == is_public(inner), (inner, hex(outer))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("10.20.0.0/16", ("10.20.1.1", 443), ("10.21.0.1", 443)),
        ("10.20.0.0/16", ("10.20.1.1", 80), ("10.20.1.1", 9000)),
        ("10.20.0.0/16:9000", ("10.20.1.1", 9000), ("10.20.1.1", 443)),
        ("127.0.0.1/32:8701", ("127.0.0.1", 8701), ("127.0.0.2", 8701)),
        ("10.1.2.3", ("10.1.2.3", 443), ("10.1.2.4", 443)),
        ("fd00::/8", ("fd00::1", 443), ("fe80::1", 443)),
        ("[fd00::/8]:9000", ("fd00::1", 9000), ("fd00::1", 443)),
    ],
)
def test_an_allowed_network_is_that_network_on_those_ports(
    text: str, inside: tuple[str, int], outside: tuple[str, int]
) -> None:
    network = parse_network(text)
    assert network.includes(ipaddress.ip_address(inside[0]), inside[1])
    assert not network.includes(ipaddress.ip_address(outside[0]), outside[1])


@pytest.mark.parametrize(
    "text",
    ["", "x", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8:0", "10.0.0.0/8:70000", "10.0.0.0/8:x", "*", "host"],
)
def test_what_is_no_network_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        parse_network(text)
