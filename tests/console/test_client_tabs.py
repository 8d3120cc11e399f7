"""Several tabs of a browser with one gateway: one of them holds a connection, none waits for another."""

import asyncio
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Page

from tests.console.bench import Bench, Told
from tests.harness import until
from tests.patience import PATIENCE_S
from tests.sandbox.harness import DREAMINA
from tests.streams import moving

pytestmark = pytest.mark.anyio

TABS = 7  # a browser has six connections to a host
LIFE = [None, "dispatching", "in_queue", "in_progress", "completed"]
COMES_TO_THE_FRONT = 'document.dispatchEvent(new Event("visibilitychange"))'


@dataclass
class Tab:
    """A tab of the page's, and what it was told."""

    page: Page
    told: Told = field(default_factory=Told)
    streams: int = 0

    async def begin(self, bench: Bench) -> None:
        """Follow a new job; no time passes for the gateway."""
        script = "(call) => void run(...call)"
        await self.page.evaluate(script, ["subscribe", [DREAMINA, bench.world.body("canned")], {}])
        await until(lambda: "in_queue" in self.told.states or self.told.is_over)
        assert self.told.states == LIFE[:3], self.told


async def _tab(bench: Bench) -> Tab:
    tab = Tab(await bench.page.context.new_page())
    tab.page.on("request", lambda request: setattr(tab, "streams", tab.streams + ("/events" in request.url)))
    await tab.page.expose_function("tell", tab.told.take)
    await tab.page.goto(bench.origin)
    await until(lambda: tab.told.versions)
    return tab


async def _over(bench: Bench, tabs: list[Tab]) -> None:
    """Let all jobs run and end."""
    bench.begin()
    await moving(bench.world, lambda: all("in_progress" in one.told.states for one in tabs), step_s=0.1)
    bench.end()
    await moving(bench.world, lambda: all(one.told.is_over for one in tabs), step_s=0.1)
    assert [one.told.errors for one in tabs] == [[]] * len(tabs)
    assert [one.told.states for one in tabs] == [LIFE] * len(tabs)


async def test_seven_tabs_that_follow_hold_one_connection_and_no_call_waits(bench: Bench) -> None:
    watch = bench.world.gateway.following.watch
    tabs = [await _tab(bench) for _ in range(TABS)]
    async with asyncio.timeout(PATIENCE_S):  # no time passes for the gateway: nothing that is held would end
        for tab in tabs:
            await tab.begin(bench)
        await until(lambda: watch.watchers == 1)
        for tab in tabs:
            assert "limits" in await tab.page.evaluate("gate.quota()")
    assert watch.watchers == 1
    await _over(bench, tabs)
    assert watch.watchers == 0


async def test_the_tab_in_front_has_the_stream_and_a_closed_one_leaves_it_to_the_next(bench: Bench) -> None:
    watch = bench.world.gateway.following.watch
    first, second = tabs = [await _tab(bench) for _ in range(2)]
    for tab in tabs:
        await tab.begin(bench)
    await until(lambda: watch.watchers == 1 and second.streams == 1)
    seen = first.streams
    await first.page.evaluate(COMES_TO_THE_FRONT)
    await until(lambda: first.streams == seen + 1 and watch.watchers == 1)
    assert second.streams == 1
    await first.page.close()
    await until(lambda: second.streams == 2 and watch.watchers == 1)
    await _over(bench, [second])


async def test_a_tab_behind_leaves_the_stream_to_the_one_that_has_it(bench: Bench) -> None:
    watch = bench.world.gateway.following.watch
    first, second = tabs = [await _tab(bench) for _ in range(2)]
    await second.page.evaluate('Object.defineProperty(document, "hidden", { value: true })')
    for tab in tabs:
        await tab.begin(bench)
    await second.page.evaluate(COMES_TO_THE_FRONT)  # not: it is hidden
    await until(lambda: watch.watchers == 1)
    assert (first.streams, second.streams) == (1, 0)
    await _over(bench, tabs)
