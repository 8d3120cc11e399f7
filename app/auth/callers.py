"""Callers: from which address a call came and by what program, and how much of that is kept. Pure.

The address is that of the connection. Only a proxy that the operator trusts is believed when it names
another one, and of what it names only what the nearest proxy that is not trusted cannot have written.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal

Kept = Literal["full", "truncated", "none"]
Network = IPv4Network | IPv6Network
_MAX_USER_AGENT: Final = 200
_MAX_REMEMBERED: Final = 10_000
_IPV4_BITS, _IPV6_BITS = 24, 48
_VERSION_6: Final = 6
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)', re.IGNORECASE)
_WITH_PORT: Final = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*):\d+")
_FORWARDED: Final = b"forwarded"


@dataclass(frozen=True, slots=True)
class Caller:
    """What is kept of who called: an address or a network, and what the program calls itself."""

    address: str | None
    user_agent: str | None


NOBODY: Final = Caller(None, None)
"""A caller of whom nothing is known, or kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Tells who calls.

    A connection from one of the networks in `trusted` is a proxy's, which names its client in `header`
    (`x-forwarded-for` or `forwarded`).
    """

    kept: Kept = "truncated"
    trusted: Sequence[Network] = ()
    header: bytes = b"x-forwarded-for"
    _remembered: dict[str, tuple[str | None, bool]] = field(default_factory=dict, init=False)

    def of(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Returns what is kept of a call, from the connection's other end and the call's headers."""
        if self.kept == "none":
            return NOBODY
        user_agent = None
        forwarded: list[bytes] = []
        for name, value in headers:
            if name == b"user-agent":
                user_agent = value
            elif name == self.header:
                forwarded.append(value)
        address = self._client(peer, forwarded)
        if self.kept == "truncated" and address is not None:
            address = network_of(address)
        return Caller(address, None if user_agent is None else self._program(user_agent))

    def network(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Returns the network that a call came from; empty where it is not known, or nothing is kept."""
        if self.kept == "none":
            return ""
        address = self._client(peer, [value for name, value in headers if name == self.header])
        return "" if address is None else network_of(address)

    def _client(self, peer: str | None, forwarded: Sequence[bytes]) -> str | None:
        """Returns the address of the client: the last one on the way here that is no trusted proxy's."""
        address, is_trusted = self._read(peer or "")
        if not is_trusted or not forwarded:
            return address
        hops = b",".join(forwarded).decode("latin-1").split(",")
        for hop in reversed(hops):
            named, is_trusted = self._read(_address_in(hop, in_forwarded=self.header == _FORWARDED))
            if named is None:
                return address  # a proxy that hides its client, or a text that is no address
            address = named
            if not is_trusted:
                return address
        return address

    def _read(self, text: str) -> tuple[str | None, bool]:
        """Returns an address in its one form, None where it is none, and whether it is a trusted proxy's."""
        found = self._remembered.get(text)
        if found is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[text] = self._parsed(text)
        return found

    def _parsed(self, text: str) -> tuple[str | None, bool]:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return None, False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return str(address), any(
            address.version == network.version and address in network for network in self.trusted
        )

    def _program(self, user_agent: bytes) -> str | None:
        """Returns what a program calls itself: all of it, or only its name and version."""
        text = user_agent.decode("latin-1").strip()
        if self.kept == "truncated":
            text = text.partition(" ")[0]
        if not text.isprintable():
            text = "".join(one if one.isprintable() else "?" for one in text)
        return text[:_MAX_USER_AGENT] or None


@lru_cache(maxsize=_MAX_REMEMBERED)
def network_of(address: str) -> str:
    """Returns the network of an address that is kept in its place: 24 bits of IPv4, 48 bits of IPv6."""
    bits = _IPV6_BITS if ":" in address else _IPV4_BITS
    return str(ip_network(f"{address}/{bits}", strict=False))


def forms_of(text: str) -> tuple[str, ...]:
    """Returns the texts under which an address that an operator names may be kept; empty for no address.

    These are the address and its network; for a network as it is kept, that alone.
    """
    try:
        if "/" in text:
            return (str(ip_network(text, strict=False)),)
        address = str(ip_address(text))
    except ValueError:
        return ()
    return (address, network_of(address))


def _address_in(hop: str, *, in_forwarded: bool) -> str:
    """Returns the address in one element of the header, without a port and brackets."""
    text = hop.strip()
    if in_forwarded:
        found = _FOR.search(text)
        text = found[1].strip('"') if found else ""
    with_port = _WITH_PORT.fullmatch(text) if text.count(":") == 1 or text.startswith("[") else None
    return text if with_port is None else with_port[1] or with_port[2] or ""
