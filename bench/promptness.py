"""A part of `python -m bench webhooks`: from a job's end at RunComfy to the first attempt at an endpoint.

A server as it is follows jobs of the stand-in, whose ids say when each ended, and sends what ended to a
receiver that notes when it came. The jobs run for some seconds, so they are polled at the shortest interval.
"""

import asyncio
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final

from sqlalchemy import select

from app.config import Settings
from app.db.schema.tables import generation_events, generations, webhook_messages
from bench.children import HOST, Child, Children, RunError, free_port, get, split_cores
from bench.databases import reading
from bench.gateway import prepare, submit
from bench.receivers import ARRIVALS_PATH
from bench.standin import COUNT_PATH, end_of, ends_in

POLL_S: Final[float] = Settings.model_fields["poll_min_s"].default
_SHORTEST_S, _SPREAD_S = 2.0, 3.0
_PATIENCE_S: Final = 60.0
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """The milliseconds from each end at RunComfy to its record and to its arrival; submits a second."""

    recorded_ms: list[int]
    arrived_ms: list[int]
    rate: float


def measure(url: str, folder: Path, *, rate: float, seconds: float) -> Delays:
    """Submits jobs at a rate for some time, all of which end; returns how late their ends became known."""
    _, cores = split_cores(pin=False)
    upstream_port, receiver_port = free_port(), free_port()
    with Children() as children:
        upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=cores)
        children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
        receiver = Child("receivers", ["bench.receivers", str(receiver_port)], folder=folder, cores=cores)
        children.add(receiver).wait_until_it_answers(receiver_port, ARRIVALS_PATH)
        site = prepare(
            folder,
            url,
            upstream_port,
            WEBHOOK_KEY=secrets.token_urlsafe(32),
            HTTP_WEBHOOK_HOSTS=f"{HOST}:{receiver_port}",
        )
        address = f"http://{HOST}:{receiver_port}/hook"
        site.command("webhooks", "create", address, "--tenant", "bench", "--test", "--quiet")
        _, port = site.serve(children, "gateway", cores=cores)
        took_s = asyncio.run(_submit_all(port, site.key, rate=rate, count=int(rate * seconds)))
        arrived_at = _arrivals(receiver_port, int(rate * seconds))
        return _delays(url, arrived_at, int(rate * seconds) / took_s)


async def _submit_all(port: int, key: str, *, rate: float, count: int) -> float:
    """Submits `count` jobs; returns the seconds that it took."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_AT_ONCE))
    began_s, submits = time.monotonic(), []
    for number in range(count):
        await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        prompt = f"a harbour {ends_in(_SHORTEST_S + number * _SPREAD_S / count)}"
        submits.append(asyncio.create_task(asyncio.to_thread(submit, port, key, prompt)))
    await asyncio.gather(*submits)
    return time.monotonic() - began_s


def _arrivals(port: int, count: int) -> dict[str, int]:
    """Waits until so many messages have arrived; returns when each did, by its id."""
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        arrived: dict[str, int] = json.loads(get(port, ARRIVALS_PATH)[1])
        if len(arrived) >= count:
            return arrived
        time.sleep(0.5)
    raise RunError(f"{len(arrived)} of {count} ends were told within {_PATIENCE_S:g} s")


def _delays(url: str, arrived: dict[str, int], rate: float) -> Delays:
    query = (
        select(webhook_messages.c.id, generations.c.upstream_request_id, generation_events.c.at_ms)
        .join(generations, generations.c.id == webhook_messages.c.generation_id)
        .join(
            generation_events,
            (generation_events.c.generation_id == generations.c.id)
            & (generation_events.c.version == generations.c.version),
        )
    )
    with reading(url) as connection:
        rows = [(row.id, end_of(row.upstream_request_id), row.at_ms) for row in connection.execute(query)]
    return Delays(
        recorded_ms=[at_ms - end_ms for _, end_ms, at_ms in rows],
        arrived_ms=[arrived[message_id] - end_ms for message_id, end_ms, _ in rows],
        rate=rate,
    )


def cuts(delays_ms: list[int]) -> tuple[float, float]:
    """Returns the median and the 99th percentile."""
    found = quantiles(delays_ms, n=100)
    return found[49], found[98]
