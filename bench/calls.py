"""`python -m bench calls`: the processor time of one call to RunComfy, a look or a submit.

The client runs in this process, on the loop that servers use; the stand-in is another one on loopback.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop

from app.upstream.client import Upstream
from app.upstream.outcomes import Exchange
from bench.children import HOST, Child, Children, RunError, free_port, split_cores
from bench.standin import COUNT_PATH, live_id

_AT_ONCE: Final = (1, 16, 64)
_BODY: Final = b'{"prompt":"a boat on a calm sea","duration":6}'
_TOKEN: Final = "bench"  # noqa: S105 - the stand-in takes any
_Call = Callable[[], Awaitable[Exchange]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--calls", type=int, default=3_000, help="of each kind (3,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the least counts (3)")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns the faults."""
    with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as folder, Children() as children:
        port = free_port()
        _, other = split_cores(pin=True)
        server = children.add(
            Child("standin", ["bench.standin", str(port)], folder=Path(folder), cores=other)
        )
        server.wait_until_it_answers(port, COUNT_PATH)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_measure(f"http://{HOST}:{port}", given.calls, given.rounds))
    return []


async def _measure(url: str, calls: int, rounds: int) -> None:
    print(f"{'processor µs a call':24}" + "".join(f"{at_once:>8} at once" for at_once in _AT_ONCE))
    async with Upstream(base_url=url, token=_TOKEN, read_deadline_s=10) as upstream:

        async def opened_ahead() -> Exchange:
            upstream.expect_submit()
            return await upstream.submit("a/b", _BODY, deadline_s=10)

        kinds: dict[str, _Call] = {
            "look": lambda: upstream.status(live_id(1, running=True)),
            "submit": lambda: upstream.submit("a/b", _BODY, deadline_s=10),
            "submit, opened ahead": opened_ahead,
        }
        for kind, call in kinds.items():
            least = [min([await _cost(call, calls, at_once) for _ in range(rounds)]) for at_once in _AT_ONCE]
            print(f"{kind:24}" + "".join(f"{us:16.0f}" for us in least))


async def _cost(call: _Call, calls: int, at_once: int) -> float:
    async def some() -> None:
        for _ in range(calls // at_once):
            exchange = await call()
            if not exchange.complete:
                raise RunError(exchange.failure)

    before = time.process_time()
    await asyncio.gather(*(some() for _ in range(at_once)))
    return (time.process_time() - before) / (calls // at_once * at_once) * 1e6
