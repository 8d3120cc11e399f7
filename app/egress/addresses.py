"""Which IP addresses a URL from a stranger may lead to. Pure: host names are resolved elsewhere.

`ipaddress.is_global` is no sufficient filter: it lets NAT64, 6to4 and IPv4-compatible addresses through, and
addresses at which cloud providers answer from inside. So this module has tables of its own: for IPv4 what is
forbidden, from the registry of special-purpose addresses (RFC 6890) and the providers' documents; for IPv6
what is allowed, minus what is forbidden.
"""

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address

_FORBIDDEN_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT; some providers' metadata services
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local; most providers' metadata services
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "168.63.129.16/32",  # public by its number, but answered by Azure's own platform
        ),
    )
)
_ALLOWED_V6: Final = IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # reserved for protocols
            "2001:db8::/32",
            "3fff::/20",
        ),
    )
)
# Addresses that lead to an IPv4 address within them, and by how many bits it is shifted to the left. NAT64
# with a prefix of the network's own (64:ff9b:1::/48) is not among them: only they know where the address is.
_EMBEDDED_V4: Final = (
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64: all of the IPv4 internet, in networks that are IPv6 alone
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 2765)
    (IPv6Network("::/96"), 0),  # compatible; `::` and `::1` are among them, as 0.0.0.0 and 0.0.0.1
    (IPv6Network("2002::/16"), 80),  # 6to4
)
_TEREDO: Final = IPv6Network("2001::/32")
_V4_BITS: Final = 0xFFFF_FFFF
_NETWORK: Final = re.compile(r"\[?([0-9A-Fa-f.:]+/\d{1,3})\]?(?::(\d{1,5}))?")
_USUAL_PORTS: Final = frozenset({80, 443})


@dataclass(frozen=True, slots=True)
class AllowedNetwork:
    """A network that the operator allows although it is not public, on certain ports."""

    network: IPv4Network | IPv6Network
    ports: frozenset[int]

    def includes(self, address: Address, port: int) -> bool:
        """Returns whether this address and port belong to it."""
        return port in self.ports and address in self.network


def parse_network(text: str) -> AllowedNetwork:
    """Parses `10.20.0.0/16` (the usual ports, 80 and 443), `10.20.0.0/16:9000` or `[fd00::/8]:9000`.

    Raises:
        ValueError: the text is no network; the message is for the operator.

    """
    bare = text.strip()
    try:
        return AllowedNetwork(ipaddress.ip_network(bare), _USUAL_PORTS)
    except ValueError:
        matched = _NETWORK.fullmatch(bare)
    if matched is None or matched[2] is None or not 0 < int(matched[2]) <= 65_535:  # noqa: PLR2004 - TCP's
        raise ValueError(f"{text!r} is not a network such as 10.20.0.0/16 or 10.20.0.0/16:9000")
    try:
        return AllowedNetwork(ipaddress.ip_network(matched[1]), frozenset({int(matched[2])}))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network: {error}") from error


def unmapped(address: Address) -> Address:
    """Returns the IPv4 address of an IPv4-mapped one (`::ffff:127.0.0.1`); any other address unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def is_public(address: Address) -> bool:
    """Returns whether the address belongs to the public internet, and to no private or special network.

    An IPv6 address that leads to an IPv4 address within it is judged by that one.
    """
    address = unmapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    if address.scope_id is not None:
        return False
    embedded = _embedded(address)
    if embedded:
        return all(map(is_public, embedded))
    return address in _ALLOWED_V6 and not any(address in network for network in _FORBIDDEN_V6)


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """Returns the IPv4 addresses that an IPv6 address leads to; none where it is an ordinary one."""
    if address in _TEREDO:  # a relay, and a client whose address is inverted
        return [IPv4Address(int(address) >> 64 & _V4_BITS), IPv4Address(~int(address) & _V4_BITS)]
    return [
        IPv4Address(int(address) >> shift & _V4_BITS) for network, shift in _EMBEDDED_V4 if address in network
    ]
