"""Dead addresses of a host hide no living one, whatever their number, order and family."""

import asyncio
import ipaddress
import random
from typing import Any, cast

import httpcore2
import pytest

from app.egress.addresses import Address
from app.egress.race import first_stream, in_turns
from tests.loops import skip

pytestmark = pytest.mark.anyio

V4 = [ipaddress.ip_address(f"93.184.216.{n}") for n in range(40)]
V6 = [ipaddress.ip_address(f"2606:4700::{n:x}") for n in range(40)]


class Stream:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True


class Host:
    """A host of which some addresses refuse, and some never answer; all others connect at once."""

    def __init__(self, refusing: list[Address], silent: list[Address]) -> None:
        self.refusing, self.silent = refusing, silent
        self.tried: list[Address] = []
        self.streams: list[Stream] = []
        self.running = 0

    async def connect(self, address: Address) -> httpcore2.AsyncNetworkStream:
        self.tried.append(address)
        self.running += 1
        try:
            if address in self.silent:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            if address in self.refusing:
                raise httpcore2.ConnectError("refused")
        finally:
            self.running -= 1
        self.streams.append(Stream(address))
        return cast("httpcore2.AsyncNetworkStream", self.streams[-1])


async def connected(host: Host, addresses: list[Address], within_s: float = 3.0) -> Address | None:
    """The address that the connection is made to; the time between two tries is skipped."""
    task = asyncio.ensure_future(first_stream(host.connect, addresses, within_s=within_s))
    while not task.done():
        for _ in range(20):
            await asyncio.sleep(0)
        skip(0.25)
    stream = cast("Stream | None", await task)
    assert host.running == 0
    assert [one.closed for one in host.streams if one is not stream] == [True] * (
        len(host.streams) - bool(stream)
    )
    assert stream is None or not stream.closed
    return stream.address if stream else None


def test_the_families_take_turns_in_the_order_of_the_resolver() -> None:
    assert in_turns([V6[0], V6[1], V6[2], V4[0]]) == [V6[0], V4[0], V6[1], V6[2]]
    assert in_turns([V4[0], V6[0], V6[1], V4[1]]) == [V4[0], V6[0], V4[1], V6[1]]
    assert in_turns(V4) == V4
    assert in_turns([]) == []


@pytest.mark.parametrize("dead", range(8))
@pytest.mark.parametrize("silent", [True, False])
async def test_the_first_living_address_is_connected_to(dead: int, silent: bool) -> None:
    addresses: list[Address] = [*V6[:dead], V4[0]]
    host = Host([], addresses[:dead]) if silent else Host(addresses[:dead], [])
    assert await connected(host, addresses) == V4[0]
    assert host.tried == addresses


async def test_refused_addresses_are_passed_at_once() -> None:
    addresses: list[Address] = V4[:32]
    host = Host(addresses[:31], [])
    async with asyncio.timeout(0.2):
        stream = cast("Stream", await first_stream(host.connect, addresses, within_s=3.0))
    assert stream.address == V4[31]


async def test_a_host_that_is_dead_altogether_is_given_up_within_the_time() -> None:
    assert await connected(Host([], list(V4)), list(V4[:32])) is None
    assert await connected(Host(list(V4), []), list(V4[:32])) is None
    assert await connected(Host([], []), []) is None


async def test_whatever_dies_the_living_are_found_and_nothing_is_left_open() -> None:
    chance = random.Random(4)  # noqa: S311 - draws cases, guards nothing
    for _ in range(50):
        addresses: list[Address] = in_turns(chance.sample([*V4[:6], *V6[:6]], 8))
        kinds: dict[Any, str] = {one: chance.choice(("refuses", "silent", "lives")) for one in addresses}
        host = Host(
            [one for one in addresses if kinds[one] == "refuses"],
            [one for one in addresses if kinds[one] == "silent"],
        )
        found = await connected(host, addresses)
        living = [one for one in addresses if kinds[one] == "lives"]
        assert found in living if living else found is None


async def test_an_error_of_ours_is_not_taken_for_a_dead_address() -> None:
    async def connect(_address: Address) -> httpcore2.AsyncNetworkStream:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await first_stream(connect, V4[:3], within_s=3.0)


async def test_an_only_address_that_answered_in_time_counts_after_a_pause_of_the_process() -> None:
    made = Stream(V4[0])

    async def connect(_: Address) -> Any:
        skip(5.0)  # the process had no turn, and meanwhile the time is over
        return made

    assert await first_stream(connect, V4[:1], within_s=3.0) is made
    assert not made.closed


@pytest.mark.parametrize("addresses", [V4[:1], V4[:3]])
async def test_a_caller_that_gives_up_leaves_no_attempt_behind(addresses: list[Address]) -> None:
    host = Host([], list(V4))
    task = asyncio.ensure_future(first_stream(host.connect, addresses, within_s=3.0))
    for _ in range(20):
        await asyncio.sleep(0)
    assert host.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert host.running == 0
