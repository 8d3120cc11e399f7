"""`python -m bench watching`: the delay from a change upstream to a subscriber on another replica.

Replica A follows the generations; replica B follows none and polls nothing itself, but has the subscribers: a
stream of all of the tenant's events, and a stream of each request's own. The upstream's ids tell when each
job ended there.
"""

import argparse
import asyncio
import json
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Any, Final

from sqlalchemy import select

from app.db.schema.tables import generations
from bench.children import HOST, Child, Children, RunError, free_port, split_cores
from bench.databases import FROM_WHEEL, database_of_its_own, reading
from bench.gateway import prepare, submit
from bench.standin import COUNT_PATH, end_of, ends_in

_NEVER_S: Final = "30"  # the freshness limit on B
_LIFE_S: Final = (2.0, 5.0)  # from which a job's duration is drawn, counted from its submit
_PATIENCE_S: Final = 60.0
_FINISHED: Final = "completed"
_STREAMS: Final = ("tenant's stream", "request's stream")


@dataclass(slots=True)
class Job:
    """When a job's end was recorded, and when each stream delivered it, in milliseconds since 1970."""

    at_ms: int = 0
    seen_ms: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Findings:
    """The delays in milliseconds, one number for each job."""

    poll_s: float
    delays_ms: dict[str, list[int]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--jobs", type=int, default=240, help="for each interval (240)")
    parser.add_argument("--rate", type=float, default=4, help="submits a second (4)")
    parser.add_argument(
        "--poll", type=float, action="append", help="REELGATE_POLL_MIN_S; may be repeated (1 and 0.25)"
    )
    parser.add_argument("--database", default=FROM_WHEEL, help="postgresql (from its wheel) or a URL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    found = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgate-bench-")))
        database = stack.enter_context(database_of_its_own(given.database, folder))
        for poll_s in given.poll or (1.0, 0.25):
            print(f"REELGATE_POLL_MIN_S={poll_s:g}, {given.jobs} jobs", file=sys.stderr)
            found.append(_run(given, folder, database, poll_s))
    for one in found:
        print(_table(one))
    if given.json is not None:
        numbers = [{"poll_s": one.poll_s, **one.delays_ms} for one in found]
        given.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return []


def _run(given: argparse.Namespace, folder: Path, database: str, poll_s: float) -> Findings:
    _, cores = split_cores(pin=False)
    with Children() as children:
        upstream_port = free_port()
        upstream = Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=cores)
        children.add(upstream).wait_until_it_answers(upstream_port, COUNT_PATH)
        site = prepare(folder, database, upstream_port, tenant=f"poll-{poll_s:g}")
        _, follows = site.serve(children, "a", cores=cores, POLL_MIN_S=str(poll_s))
        _, shows = site.serve(children, "b", cores=cores, RUN_LOOPS="false", FRESHNESS_S=_NEVER_S)
        jobs = asyncio.run(_watch(given, follows, shows, site.key))
    query = select(generations.c.id, generations.c.upstream_request_id).where(generations.c.id.in_(jobs))
    with reading(database) as connection:
        ended = {row.id: end_of(row.upstream_request_id) for row in connection.execute(query)}
    return Findings(poll_s, _delays(jobs, ended))


def _delays(jobs: Mapping[str, Job], ended: Mapping[str, int]) -> dict[str, list[int]]:
    return {
        "upstream → written by A": [one.at_ms - ended[name] for name, one in jobs.items()],
        **{
            f"{since} → seen on B, {stream}": [
                one.seen_ms[stream] - (ended[name] if since == "upstream" else one.at_ms)
                for name, one in jobs.items()
            ]
            for stream in _STREAMS
            for since in ("upstream", "written by A")
        },
    }


async def _watch(given: argparse.Namespace, follows: int, shows: int, key: str) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    all_seen = asyncio.Event()
    chance = random.Random(given.jobs)  # noqa: S311 - guards nothing

    def seen(stream: str, event: Mapping[str, Any]) -> None:
        if event.get("state") == _FINISHED:
            job = jobs.setdefault(event["request_id"], Job())
            job.at_ms = int(datetime.fromisoformat(event["at"]).timestamp() * 1000)
            job.seen_ms[stream] = time_ns() // 1_000_000
            if sum(len(one.seen_ms) for one in jobs.values()) == given.jobs * len(_STREAMS):
                all_seen.set()

    of_all = asyncio.create_task(_read(shows, "/v1/events", key, partial(seen, _STREAMS[0])))
    streams = []
    began_s = asyncio.get_running_loop().time()
    for number in range(given.jobs):
        await asyncio.sleep(max(0, began_s + number / given.rate - asyncio.get_running_loop().time()))
        prompt = f"a harbour {ends_in(chance.uniform(*_LIFE_S))}"
        job = await asyncio.to_thread(submit, follows, key, prompt)
        path = f"/v1/requests/{job}/events"
        streams.append(asyncio.create_task(_read(shows, path, key, partial(seen, _STREAMS[1]), whole=True)))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.gather(*streams)
            await all_seen.wait()
    except TimeoutError as error:
        raise RunError(f"not every end was seen within {_PATIENCE_S:g} s") from error
    finally:
        of_all.cancel()
    return jobs


async def _read(
    port: int, path: str, key: str, take: Callable[[Mapping[str, Any]], None], *, whole: bool = False
) -> None:
    """Passes every event of a stream to `take`; with `whole`, until the last one."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n\r\n"
        writer.write(head.encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RunError(f"{path} answered {status.decode('latin-1')}")
        async for line in reader:  # a chunk is a whole message, so chunk sizes are lines of their own
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                take(event)
                if whole and event.get("final"):
                    return
    finally:
        writer.close()


def _table(found: Findings) -> str:
    lines = [
        "",
        f"REELGATE_POLL_MIN_S={found.poll_s:g}, ms",
        f"{'':40}{'median':>8}{'p99':>8}{'most':>8}{'jobs':>6}",
    ]
    for name, delays in found.delays_ms.items():
        numbers = (statistics.median(delays), _p99(delays), max(delays))
        lines.append(f"{name:40}" + "".join(f"{one:8.0f}" for one in numbers) + f"{len(delays):6}")
    return "\n".join(lines)


def _p99(numbers: Sequence[int]) -> int:
    return sorted(numbers)[math.ceil(0.99 * len(numbers)) - 1]
