"""A page that follows many requests keeps its browser's connections to the gateway free."""

import asyncio

import pytest

from tests.console.bench import Bench
from tests.harness import until
from tests.patience import PATIENCE_S
from tests.streams import moving

pytestmark = pytest.mark.anyio

JOBS = 10  # a browser has six connections to a host
_FOLLOW_ALL = """(inputs) => {
  window.ended = [];
  window.seen = {};
  for (const [at, input] of inputs.entries()) {
    const states = (window.seen[at] = []);
    const onUpdate = ({ state, version }) => version && states.at(-1) !== state && states.push(state);
    gate.subscribe(model, input, { onUpdate }).then((result) => window.ended.push(result.status));
  }
}"""


async def test_ten_requests_of_one_page_take_one_connection_and_calls_are_answered_at_once(
    bench: Bench,
) -> None:
    world, watch = bench.world, bench.world.gateway.following.watch
    script = _FOLLOW_ALL.replace("model,", '"bytedance/dreamina-3-0/image-to-video",')
    await bench.page.evaluate(script, [world.body("canned") for _ in range(JOBS)])
    await _all_see(bench, "in_queue")
    await until(lambda: watch.watchers == 1 and len(watch._generations) == JOBS)
    async with asyncio.timeout(PATIENCE_S):  # no time passes for the gateway: nothing that is held would end
        for _ in range(3):
            assert "limits" in await bench.ask("gate.quota()")
    assert watch.watchers == 1
    bench.begin()
    await moving(world, lambda: _states(watch, "in_progress") == JOBS, step_s=0.1)
    await _all_see(bench, "in_progress")
    assert watch.watchers == 1
    bench.end()
    await moving(world, lambda: not watch.watchers, step_s=0.1)
    await bench.page.wait_for_function(f"window.ended.length === {JOBS}")
    assert await bench.page.evaluate("window.ended") == ["succeeded"] * JOBS
    life = ["dispatching", "in_queue", "in_progress", "completed"]
    assert await bench.page.evaluate("Object.values(window.seen)") == [life] * JOBS


async def test_one_who_comes_later_and_one_who_goes_leave_the_others_their_changes(bench: Bench) -> None:
    await bench.subscribe("canned")
    await bench.page.evaluate(
        """async (input) => {
          const left = new AbortController();
          const { request_id: id } = await gate.submit("bytedance/dreamina-3-0/image-to-video", input);
          window.gone = gate.follow(id, { signal: left.signal }).catch((error) => String(error.message));
          window.leave = () => left.abort(new Error("left"));
        }""",
        bench.world.body("queued"),
    )
    await until(lambda: len(bench.world.gateway.following.watch._generations) == 2)
    await bench.page.evaluate("window.leave()")
    assert await bench.page.evaluate("window.gone") == "left"
    await bench.live()
    assert bench.told.states == [None, "dispatching", "in_queue", "in_progress", "completed"]


async def _all_see(bench: Bench, state: str) -> None:
    seen = f"Object.values(window.seen).filter((states) => states.includes('{state}')).length === {JOBS}"
    await bench.page.wait_for_function(seen)


def _states(watch: object, state: str) -> int:
    shared = watch._generations.values()  # type: ignore[attr-defined]
    return sum(one.value is not None and one.value.generation.state == state for one in shared)
