"""A fair queue over time: shares, an outage, many replicas, and a hundred thousand who wait."""

import re
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from app.db.schema.tables import queues
from app.generations.lifecycle import State
from tests.queue.queueing import Market, market
from tests.queue.shares import (
    EARLY,
    LATE,
    RUN_S,
    SLOTS,
    WEIGHTS,
    WINDOW_S,
    shares_over_time,
)

pytestmark = pytest.mark.anyio

PLOT = Path(__file__).parents[2] / "docs" / "shares.svg"


async def test_ten_tenants_share_five_places_as_their_weights_say_though_one_floods(
    sqlite_url: str, tmp_path: Path
) -> None:
    taken = await shares_over_time(sqlite_url, tmp_path)
    assert [name for _, name in taken[:SLOTS]] == ["flood"] * SLOTS  # it came first, and nobody waited
    for window, present in ((0, EARLY), (1, EARLY + LATE)):
        from_ms, until_ms = (window * WINDOW_S or RUN_S) * 1000, (window + 1) * WINDOW_S * 1000
        counts = Counter(name for at_ms, name in taken if from_ms <= at_ms < until_ms)
        assert set(counts) == set(present)
        in_all, weights = sum(counts.values()), sum(WEIGHTS[name] for name in present)
        assert in_all == SLOTS * (until_ms - from_ms) // (RUN_S * 1000)  # no place is ever free
        for name in present:
            due = in_all * WEIGHTS[name] / weights
            assert abs(counts[name] - due) <= 2, (window, name, counts[name], due)
    # Ties go by the tenants' ids, which are others in each run: the plot in the docs is of one like this.
    shown = dict(re.findall(r">(\w+) \(\d\): (\d+)<", PLOT.read_text()))
    ends = Counter(name for _, name in taken)
    assert {name: abs(int(shown[name]) - count) <= 2 for name, count in ends.items()} == dict.fromkeys(
        WEIGHTS, True
    )


async def test_who_comes_now_and_then_does_not_wait_behind_who_floods(
    database_url: str, tmp_path: Path
) -> None:
    async with market(database_url, tmp_path, slots=2, run_s=10) as place:
        await place.tenant("flood", 1)
        await place.tenant("guest", 1)
        await place.submit("flood", 200)
        waits = []
        for _ in range(5):
            await place.seconds(7)
            await place.submit("guest")
            came_ms = place.clock.now_ms()
            while not any(prompt == place.submitted["guest"][-1] for _, prompt in place.upstream.taken):
                await place.second()
            waits.append((place.clock.now_ms() - came_ms) / 1000)
        assert max(waits) <= 11  # the next place that is free


@pytest.mark.parametrize("known", [True, False])
async def test_an_outage_of_ten_minutes_loses_doubles_and_reorders_nothing(
    database_url: str, tmp_path: Path, known: bool
) -> None:
    """Whether the gateway was told how many places there are, or has to learn it from refusals."""
    async with market(database_url, tmp_path, slots=8, run_s=10, known=known) as place:
        for name in ("one", "two", "three"):
            await place.tenant(name, 1)
        for at_s in range(720):
            place.upstream.away = 30 <= at_s < 630
            if at_s % 12 == 0:
                for name in place.principals:
                    await place.submit(name)
            await place.second()
        waited = place.states[State.ACCEPTED]
        assert waited >= 140
        assert place.upstream.tries_while_away <= 40  # a breaker, and no hammering
        for _ in range(2_000):
            if not (await place.gateway.db.read(_waiting)):
                break
            await place.second()
        await place.seconds(40)
        assert await place.ends() == {State.COMPLETED: len(place.ids)}
        _each_once_and_in_order(place)
        assert place.upstream.max_at_once <= 8
        assert place.upstream.max_calls <= place.gateway.settings.dispatches_at_once
        if known:  # nobody was asked for more than there is
            assert set(place.upstream.bodies.values()) == {1}


def _each_once_and_in_order(place: Market) -> None:
    """Every submit made one job; of each tenant in the order of its submits."""
    taken = [prompt for _, prompt in place.upstream.taken]
    assert Counter(taken) == dict.fromkeys((one for all_ in place.submitted.values() for one in all_), 1)
    for name, prompts in place.submitted.items():
        assert [one for one in taken if one.rpartition(" ")[0] == name] == prompts


def _waiting(connection: Connection) -> int:
    return int(connection.scalar(select(func.sum(queues.c.queued))) or 0)
