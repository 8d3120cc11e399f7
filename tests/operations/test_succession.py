"""`reelgate restart` under calls: a server's successor serves before it stops, so no call is refused."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.operations.test_restart import CALLERS, Calls
from tests.processes import Commands, Place, Process, a_key, eventually, place_for, started
from tests.sandbox.harness import Running

WRONG = "REELGATE_DRAIN_S=never\n"


@contextmanager
def successor(reelgate: Commands, place: Place, old: Process) -> Iterator[int]:
    """Replaces a server, and yields the id of the process that serves then, which is ended with the block."""
    before = running(reelgate, place)
    told = reelgate.run(place, "restart").out
    [pid] = running(reelgate, place) - before
    try:
        assert f":{old.process.pid} " in told
        assert f":{pid} " in told
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def running(reelgate: Commands, place: Place) -> set[int]:
    return {one["pid"] for one in reelgate.run(place, "processes", "list", "--json").json}


def test_no_call_is_refused_or_lost_while_a_server_is_replaced_and_none_is_by_one_that_cannot_serve(
    sqlite_url: str,
    tmp_path: Path,
    sandbox: Running,
    reelgate: Commands,
    record_property: Callable[[str, object], None],
) -> None:
    _, key = a_key(sqlite_url)
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    calls = Calls(place.url, key, sandbox.options.public_url)

    # The command itself has its number in a variable, which comes before the file.
    named = place.but(DRAIN_S="30")

    def replace(server: Process) -> None:
        calls.until_more(CALLERS)
        (tmp_path / ".env").write_text(WRONG)  # which the server that runs has not read
        refused = reelgate.run(named, "restart", expect=1)
        assert "its successor ended with code 2" in refused.err
        (tmp_path / ".env").unlink()
        calls.until_more(CALLERS)
        with successor(reelgate, place, server) as pid:
            server.send(signal.SIGTERM)  # it need not wait for those who are connected: their calls are short
            assert server.wait() == 0
            assert running(reelgate, place) == {pid}
            second = reelgate.run(place, "migrate", expect=1)
            assert "another server is running" in second.err  # the lock was handed on
            calls.until_more(2 * CALLERS)
            calls.end()
            os.kill(pid, signal.SIGTERM)
            eventually(lambda: not running(reelgate, place))

    async def run(server: Process) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(calls.keep_calling(str(number)))
            await asyncio.to_thread(replace, server)

    sandbox.tidy()
    before = len(sandbox.ledger()["submissions"])
    with started(place, anew=True) as server:
        asyncio.run(run(server))
    assert len(sandbox.ledger()["submissions"]) - before == len(calls.made) == len(set(calls.made.values()))
    reelgate.run(place, "ledger", "verify")
    told = f"The longest pause between two answers: {calls.longest_pause_s():.2f} s."
    record_property("restart", told)
    print(told)  # noqa: T201 - with -s
