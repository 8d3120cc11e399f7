"""A server whose log cannot be written: it serves as ever, and records its paid jobs."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from app.generations.lifecycle import State
from tests.harness import SUBMIT
from tests.processes import Place, Process, a_key, eventually, place_for, rows_of, started
from tests.sandbox.harness import Running

PIPE_BYTES = 4096
CALLS = PIPE_BYTES // 100
METRICS = {"Authorization": "Bearer the-token-of-the-metrics"}


@contextmanager
def full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def closed_pipe() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def place(tmp_path: Path, sqlite_template: Path, sandbox: Running) -> Place:
    path = tmp_path / "own.db"
    path.write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{path}"
    return place_for(tmp_path, url, sandbox.options.public_url, METRICS_TOKEN="the-token-of-the-metrics")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False, timeout=30) as opened:
        yield opened


def serves(server: Process, client: httpx2.Client, sandbox: Running) -> str:
    """Has the server write more lines than the pipe takes, and returns the id of a job that it recorded."""
    tenant_id, key = a_key(server.place.settings["DATABASE_URL"])
    for _ in range(CALLS):
        assert client.get(f"{server.place.url}/nowhere").status_code == 404
    answer = client.post(
        f"{server.place.url}{SUBMIT}",
        json={"image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"], "prompt": "a boat"},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 200, answer.text
    assert client.get(f"{server.place.url}/livez").status_code == 200
    (row,) = rows_of(server.place.settings["DATABASE_URL"], tenant_id)
    assert (row.id, row.state) == (answer.json()["request_id"], State.IN_QUEUE)
    return row.id


@pytest.mark.parametrize("broken", [full_disk, closed_pipe])
def test_a_log_that_cannot_be_written_loses_no_paid_job(
    broken: Callable[[], AbstractContextManager[int]], place: Place, client: httpx2.Client, sandbox: Running
) -> None:
    with broken() as err, started(place, err=err) as server:
        serves(server, client, sandbox)
        told = client.get(f"{place.url}/metrics", headers=METRICS).text
        assert float(told.partition("\nreelgate_log_buffered_bytes ")[2].split()[0]) > PIPE_BYTES
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_a_reader_that_comes_back_gets_every_line(
    place: Place, client: httpx2.Client, sandbox: Running
) -> None:
    read: list[bytes] = []
    with pipe() as (reader, writer):

        def read_all() -> None:
            while part := os.read(reader, 65_536):
                read.append(part)

        with started(place, err=writer) as server:
            request_id = serves(server, client, sandbox)
            Thread(target=read_all, daemon=True).start()
            eventually(lambda: request_id.encode() in b"".join(read))
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        eventually(lambda: b"Finished server process" in b"".join(read))
    lines = [json.loads(line) for line in b"".join(read).splitlines()]
    answered = [line for line in lines if line["event"] == "A request was answered."]
    assert [line["path"] for line in answered].count("/nowhere") == CALLS
    assert answered[0]["code"] == "route_not_found"


def test_a_server_serves_without_standard_input_output_and_error(
    place: Place, client: httpx2.Client, sandbox: Running
) -> None:
    # Their numbers must not become those of sockets or of the database.
    program = 'exec <&- >&- 2>&-; exec "$0" -m app.cli.entry serve'
    with (
        (place.folder / "out").open("wb") as out,
        subprocess.Popen(
            ["/bin/sh", "-c", program, sys.executable],
            cwd=place.folder,
            env=place.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
        ) as process,
    ):
        server = Process(process, place.folder / "out", place)
        try:
            server.until_ready()
            serves(server, client, sandbox)
            for number in range(3):
                assert Path(f"/proc/{process.pid}/fd/{number}").readlink() == Path(os.devnull)
        finally:
            process.terminate()
        assert server.wait() == 0
