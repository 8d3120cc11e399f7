"""A server that dies at any event of a copy: no row without its bytes, nothing left over, no second copy."""

import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.mirror.claims import LEASE_S
from app.storage import incoming
from app.storage.threads import Threads
from tests.gateway.dying import Dying, tick
from tests.gateway.events import counting
from tests.harness import World, open_world, settings_for
from tests.mirror.upstream import FILM, Upstream
from tests.mirror.worlds import completed, copies, copy, kept, mirrored, rows
from tests.sandbox.harness import Running

pytestmark = pytest.mark.anyio

LEAST = 15  # events of a copy


class DyingWithFiles(Dying):
    """One that does nothing to its files either."""

    def in_files(self, run: Any) -> Any:
        """Return how file work is run: before and after each piece of it, a server may die."""

        async def running(threads: Threads, function: Any, /, *args: Any, **more: Any) -> Any:
            name = function.__name__
            if self.on and self.is_dead and function is incoming._remove:
                os.close(args[1])  # the system does that, and it does not remove the file
                return None
            self._meet_file(f"before {name}")
            done = await run(threads, function, *args, **more)
            try:
                self._meet_file(f"after {name}")
            except OSError:
                if function is incoming._create:
                    os.close(done[1])
                raise
            return done

        return running

    def _meet_file(self, name: str) -> None:
        if self.on:
            try:
                self.meet("file", name)
            except Exception as error:
                raise OSError("the server is dead") from error


async def test_a_death_at_any_event_of_a_copy_leaves_neither_a_row_without_bytes_nor_bytes_without_a_row(
    database_url: str,
    tmp_path: Path,
    sandbox: Running,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = DyingWithFiles(database_url)
    monkeypatch.setattr(Threads, "run", events.in_files(Threads.run))
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url, mirror_hosts=upstream.host)
    with capture_logs(), counting(events):
        async with open_world(settings, sandbox) as world:
            world.gateway.db.announcements._run = None
            await mirrored(world)
            mirror = world.gateway.mirror
            for number in count(1):
                events.dies_at(number)
                request_id = await completed(world, {"video": upstream.url("/film")})
                await tick(mirror, events, lambda: (one.task for one in mirror._under_way.values()))
                has_died = events.is_dead
                await _restarted(world)
                (asset,) = await copies(world, request_id)
                assert asset["state"] == "stored", (number, events.met[-1], asset)
                stored = {one.storage_key: one.size_bytes for one in await rows(world)}
                assert sorted(stored) == kept(world), (number, events.met[-1])
                assert set(stored.values()) == {len(FILM)}
                if not has_died:
                    break
            assert number > LEAST
            assert len(stored) == number  # one row for each request


async def _restarted(world: World) -> None:
    """Another server comes: what was leased is due once the lease has ended, the rest by the schedule."""
    await world.gateway.storage.intake.clear()
    for _ in range(3):
        world.clock.advance(LEASE_S + 70)
        await copy(world)
