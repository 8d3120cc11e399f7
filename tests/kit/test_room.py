"""Room that many share: never more of it is held than there is, and nobody who can be admitted waits."""

import asyncio
import random

import pytest

from app.kit.room import Room, RoomFullError
from tests.loops import skip

pytestmark = pytest.mark.anyio


class Guest:
    """Somebody who enters and stays until told to leave."""

    def __init__(self, room: Room, amount: int, owner: str = "a") -> None:
        self.amount = amount
        self.owner = owner
        self.inside = False
        self._leaves = asyncio.Event()
        self.task = asyncio.ensure_future(self._stay(room))

    async def _stay(self, room: Room) -> None:
        async with room.holding(self.amount, self.owner, within_s=2):
            self.inside = True
            await self._leaves.wait()
        self.inside = False

    async def leave(self) -> None:
        self._leaves.set()
        await self.task


async def rest() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_finds_no_room_waits_in_line_and_is_admitted_when_there_is() -> None:
    room = Room(10, 10)
    first, second, third = Guest(room, 6, "a"), Guest(room, 6, "b"), Guest(room, 1, "c")
    await rest()
    # The third would fit, but not before the second: a large one is not passed over for ever.
    assert [one.inside for one in (first, second, third)] == [True, False, False]
    await first.leave()
    await rest()
    assert [one.inside for one in (second, third)] == [True, True]
    await second.leave()
    await third.leave()
    assert room.held == 0


async def test_one_owner_holds_no_more_than_its_share_and_holds_up_nobody() -> None:
    room = Room(10, 5)
    mine = [Guest(room, 5, "a"), Guest(room, 5, "a")]
    other = Guest(room, 5, "b")
    await rest()
    assert [one.inside for one in (*mine, other)] == [True, False, True]
    await mine[0].leave()
    await rest()
    assert mine[1].inside
    for one in (mine[1], other):
        await one.leave()


async def test_whoever_waited_long_enough_is_refused_and_leaves_the_line() -> None:
    room = Room(10, 10)
    first = Guest(room, 10)
    await rest()
    second = Guest(room, 8, "b")
    await rest()
    skip(2)
    with pytest.raises(RoomFullError):
        await second.task
    third = Guest(room, 1, "c")
    await first.leave()
    await rest()
    assert third.inside
    await third.leave()
    assert room.held == 0


async def test_whatever_comes_leaves_or_is_cancelled_the_room_is_never_overfull_nor_lost() -> None:
    chance = random.Random(8)  # noqa: S311 - draws cases, guards nothing
    room, guests = Room(20, 12), list[Guest]()
    for _ in range(600):
        match chance.randrange(3):
            case 0:
                guests.append(Guest(room, chance.randint(1, 12), chance.choice("abc")))
            case 1 if guests:
                one = guests.pop(chance.randrange(len(guests)))
                if one.inside:
                    await one.leave()
                else:
                    one.task.cancel()
                    await asyncio.gather(one.task, return_exceptions=True)
            case _ if guests:
                one = guests.pop(chance.randrange(len(guests)))
                one.task.cancel()
        await rest()
        inside = [one for one in guests if one.inside]
        assert room.held == sum(one.amount for one in inside) <= 20
        for owner in "abc":
            assert sum(one.amount for one in inside if one.owner == owner) <= 12
    for one in guests:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in guests), return_exceptions=True)
    assert room.held == 0
