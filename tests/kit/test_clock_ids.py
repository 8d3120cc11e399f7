"""Time and identifiers as callers see them."""

import asyncio
import multiprocessing
import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.clock import Clock, SystemClock, iso, wait_for_event
from app.kit.ids import is_id, new_id
from tests.harness import FakeClock
from tests.loops import skip

moments = st.integers(0, 7_258_118_399_999)  # to the end of the year 2199
uuid7_moments = st.integers(0, 2**48 - 1)


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000_001, "2026-09-21T14:13:20.001Z"),
        (1_790_000_000_999, "2026-09-21T14:13:20.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (253_402_300_800_000, "9999-12-31T23:59:59.000Z"),  # 9999-12-31T23:00:00-01:00
        (-62_135_596_800_001, "0001-01-01T00:00:00.999Z"),  # 0001-01-01T00:59:59.999+01:00
    ],
)
def test_a_time_is_rfc_3339_in_utc(at_ms: int, text: str) -> None:
    assert iso(at_ms) == text


@given(moments)
def test_a_time_is_read_back_to_the_millisecond(at_ms: int) -> None:
    text = iso(at_ms)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == at_ms


def test_the_system_clock_says_milliseconds_since_1970() -> None:
    assert abs(SystemClock().now_ms() / 1000 - datetime.now().timestamp()) < 5  # noqa: DTZ005 - an instant


@given(uuid7_moments)
def test_an_id_is_a_uuid_of_version_7_that_holds_its_moment(now_ms: int) -> None:
    text = new_id(now_ms)
    assert is_id(text)
    assert len(text) == 36
    assert text[14] == "7"
    assert text[19] in "89ab"
    assert int(text.replace("-", "")[:12], 16) == now_ms


@given(uuid7_moments, uuid7_moments)
def test_ids_sort_by_the_time_they_were_made(one: int, other: int) -> None:
    if one < other:
        assert new_id(one) < new_id(other)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(1_790_000_000_000) for _ in range(10_000)}) == 10_000


def test_a_forked_process_makes_other_ids() -> None:
    new_id(0)  # random bytes for more are drawn with these
    with multiprocessing.get_context("fork").Pool(1) as forked:
        theirs = set(forked.map(new_id, [0] * 300))
    assert theirs.isdisjoint({new_id(0) for _ in range(300)})


def test_every_bit_of_an_id_but_its_moment_version_and_variant_is_random() -> None:
    made = [int(new_id(0).replace("-", ""), 16) for _ in range(300)]
    ever_one, ever_zero = 0, 0
    for value in made:
        ever_one |= value
        ever_zero |= ~value & (1 << 128) - 1
    fixed = (0xF << 76) | (0b11 << 62) | (((1 << 48) - 1) << 80)
    assert ever_one & ever_zero == (1 << 128) - 1 & ~fixed


@given(st.text())
def test_arbitrary_text_is_no_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("wrap", ["{}\n", " {}", "{}x", "{{{}}}", "urn:uuid:{}"])
def test_nothing_around_an_id_is_taken(wrap: str) -> None:
    assert not is_id(wrap.format(new_id(1)))
    assert not is_id(new_id(1).upper())


@pytest.mark.anyio
@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()], ids=["the machine's clock", "another one"])
async def test_an_event_is_waited_for_until_it_is_set_or_the_time_is_over(clock: Clock) -> None:
    async def after(seconds: float, event: asyncio.Event) -> bool:
        waiting = asyncio.create_task(wait_for_event(event, clock, within_s=10))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        if isinstance(clock, FakeClock):
            clock.advance(seconds)
        else:
            skip(seconds)
        if seconds < 10:
            event.set()
        return await waiting

    assert await after(5, asyncio.Event())
    assert not await after(11, asyncio.Event())
