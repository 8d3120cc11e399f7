"""The other alerts in a real Prometheus: each fires at a real fault, and ends with it."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.db.engines.sqlite import write_lock
from tests.conftest import RealClock, _administer
from tests.operations.prometheus import prometheus, settings, submit
from tests.operations.tools import ROOT
from tests.patience import PATIENCE_S
from tests.processes import Commands, Place, Process, eventually, place_for, started
from tests.sandbox.harness import TOKEN, Running, running

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
LONG = "nowhere" * 800
"""A path whose lines fill the log's buffer, of megabytes, in seconds."""
KEYS = [b64encode(bytes(range(start, start + 32))).decode() for start in (0, 100)]
Firing = Callable[[], set[str]]


@pytest.fixture
def place(sqlite_url: str, tmp_path: Path, sandbox: Running, live_sandbox: Running) -> Place:
    return gateway(sqlite_url, tmp_path, sandbox, live_sandbox)


def gateway(url: str, folder: Path, sandbox: Running, live: Running, **more: str) -> Place:
    hosts = f"{live.options.public_url},{sandbox.options.public_url}".replace("http://", "")
    return place_for(folder, url, sandbox.options.public_url, **settings(live), **more).but(
        HTTP_MEDIA_HOSTS=hosts
    )


def a_live_key(place: Place, reelgate: Commands) -> str:
    reelgate.run(place, "tenants", "create", "acme")
    key: str = reelgate.run(place, "keys", "create", "--tenant", "acme", "--json").json["key"]
    return key


def watched(place: Place, folder: Path) -> Any:
    return prometheus(folder, [place.url.removeprefix("http://")])


def fires(firing: Firing, *names: str) -> None:
    fired: set[str] = set()

    def have_fired() -> bool:
        fired.update(firing())
        return all(f"Reelgate{name}" in fired for name in names)

    try:
        eventually(have_fired)
    except AssertionError:
        pytest.fail(f"of {names} only {fired} fired")


def ends(firing: Firing, *names: str) -> None:
    gone = {f"Reelgate{name}" for name in names}
    eventually(lambda: not gone & firing())


@contextmanager
def again_and_again(action: Callable[[], object]) -> Iterator[None]:
    """Does something for as long as the block lasts."""
    over = threading.Event()

    def keep_doing() -> None:
        while not over.is_set():
            action()

    thread = threading.Thread(target=keep_doing, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE_S)


def stopped(server: Process) -> None:
    server.send(signal.SIGTERM)
    assert server.wait() == 0


def test_submits_that_fail_requests_that_stay_unknown_and_a_flood(
    place: Place, tmp_path: Path, live_sandbox: Running, reelgate: Commands
) -> None:
    key = a_live_key(place, reelgate)
    with started(place), watched(place, tmp_path) as firing:
        assert submit(place, key, live_sandbox, "canned").status_code == 200
        with again_and_again(lambda: submit(place, key, live_sandbox, "html")):
            fires(firing, "SubmitErrors", "UnknownRequests", "UnknownRequestsStay")
        listed = reelgate.run(place, "requests", "list", "--state", "unknown", "--json").json
        for one in listed:
            words = ("--not-charged", "--reason", "a test")
            reelgate.run(place, "requests", "resolve", one["request_id"], *words)
        ends(firing, "SubmitErrors", "UnknownRequests", "UnknownRequestsStay")

        with httpx2.Client(trust_env=False, headers={"Authorization": "Bearer rg_live_nobody"}) as stranger:
            with again_and_again(lambda: stranger.get(f"{place.url}/v1/models")):
                fires(firing, "Flood")
            ends(firing, "Flood")


def test_a_queue_that_is_stuck_and_polls_that_are_late(
    sqlite_url: str, tmp_path: Path, sandbox: Running, live_sandbox: Running, reelgate: Commands
) -> None:
    one = f'[{{"name": "main", "token": "{TOKEN}", "concurrency": 1}}]'
    place = gateway(sqlite_url, tmp_path, sandbox, live_sandbox, QUEUEING="true", POLLS_AT_ONCE="1")
    place = place.but(UPSTREAM_TOKEN=None, UPSTREAM_CREDENTIALS=one)
    key = a_live_key(place, reelgate)
    with watched(place, tmp_path) as firing:
        with started(place) as server:
            first = submit(place, key, live_sandbox, "queued").json()["request_id"]
            assert submit(place, key, live_sandbox, "canned").status_code == 200
            fires(firing, "QueueStuck")
            cancelled = httpx2.post(
                f"{place.url}/v1/requests/{first}/cancel",
                headers={"Authorization": f"Bearer {key}"},
                trust_env=False,
                timeout=PATIENCE_S,
            )
            assert cancelled.status_code in {200, 202}, cancelled.text
            ends(firing, "QueueStuck")
            stopped(server)
        wide = place.but(UPSTREAM_CREDENTIALS=one.replace(": 1}", ": 9}"))
        with started(wide) as server:
            for _ in range(4):
                assert submit(place, key, live_sandbox, "queued").status_code == 200
            stopped(server)
        with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:  # it accepts, and never answers
            away = wide.but(UPSTREAM_BASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
            with started(away) as server:
                fires(firing, "PollLag")
                server.send(signal.SIGKILL)
                server.wait()
        with started(wide):
            ends(firing, "PollLag", "UpstreamDown", "Down")


@on_postgresql
def test_a_database_that_is_away(
    database_url: str, postgres_server: str, tmp_path: Path, live_sandbox: Running, reelgate: Commands
) -> None:
    """It goes away while RunComfy answers a submit: the id of the job is kept in the spool."""
    place = gateway(database_url, tmp_path, live_sandbox, live_sandbox).but(SUBMIT_DEADLINE_S="9")
    key = a_live_key(place, reelgate)
    name = database_url.rpartition("/")[2].partition("?")[0]

    def let_in(answer: str) -> None:
        _administer(postgres_server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {answer}')

    with watched(place, tmp_path) as firing:
        with started(place) as server:
            assert submit(place, key, live_sandbox, "canned").status_code == 200
            before = len(live_sandbox.ledger()["submissions"])
            slow = threading.Thread(target=submit, args=(place, key, live_sandbox, "slow=4,canned"))
            slow.start()
            eventually(lambda: len(live_sandbox.ledger()["submissions"]) > before)
            let_in("false")
            others = f"FROM pg_stat_activity WHERE datname = '{name}'"
            _administer(postgres_server, f"SELECT pg_terminate_backend(pid) {others}")
            try:
                fires(firing, "DatabaseDown", "LoopFails", "Spool")
            finally:
                let_in("true")
            slow.join(PATIENCE_S)
            ends(firing, "DatabaseDown", "LoopFails")
            assert submit(place, key, live_sandbox, "canned").status_code == 200
            stopped(server)
        with started(place):
            ends(firing, "Spool", "Down")
            reelgate.run(place, "ledger", "verify")


def test_a_database_that_is_slow(
    place: Place, tmp_path: Path, live_sandbox: Running, reelgate: Commands
) -> None:
    key = a_live_key(place, reelgate)
    path = Path(place.settings["DATABASE_URL"].removeprefix("sqlite:///"))
    pause = threading.Event()

    def hold() -> None:
        with write_lock(path):
            pause.wait(2)
        pause.wait(0.2)

    with started(place), watched(place, tmp_path) as firing:
        with again_and_again(hold), again_and_again(lambda: submit(place, key, live_sandbox, "canned")):
            fires(firing, "DatabaseSlow")
        ends(firing, "DatabaseSlow")


def test_an_audit_log_that_fell_a_log_that_is_lost_and_a_clock_that_is_wrong(
    place: Place, tmp_path: Path, live_sandbox: Running, reelgate: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_live_key(place, reelgate)
    path = Path(place.settings["DATABASE_URL"].removeprefix("sqlite:///"))
    older = tmp_path / "older.db"
    shutil.copyfile(path, older)
    reelgate.run(place, "tenants", "create", "another")
    with watched(place, tmp_path) as firing:
        with started(place) as server:
            eventually(lambda: "ReelgateDown" not in firing())
            stopped(server)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(older, path)  # as nobody should who does not stop for `reelgate recover`
        full = os.open("/dev/full", os.O_WRONLY)
        with started(place.but(LOG_FORMAT="json"), err=full) as server:
            with again_and_again(lambda: httpx2.get(f"{place.url}/{LONG}", trust_env=False)):
                fires(firing, "AuditFell", "LogLost")
            stopped(server)
        os.close(full)
        library = tmp_path / "moved_clock.so"
        source = ROOT / "tests" / "moved_clock.c"
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("NO CLOCK WAS MOVED: there is no C compiler (cc) here.")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        with monkeypatch.context() as moved:
            moved.setenv("LD_PRELOAD", str(library))
            moved.setenv("MOVED_CLOCK_S", "100")
            with started(place, anew=True) as server:
                assert submit(place, key, live_sandbox, "queued").status_code == 200
                fires(firing, "ClockWrong")
                stopped(server)
        with started(place):
            ends(firing, "AuditFell", "LogLost", "ClockWrong", "Down")


def test_a_model_that_costs_more_than_it_is_charged_until_its_price_is_corrected(
    sqlite_url: str, tmp_path: Path, sandbox: Running, reelgate: Commands
) -> None:
    """Money is read when a server starts, and every five minutes: so it is started anew each time."""
    with running(tmp_path / "dear", RealClock(), queue_s=0.1, run_s=0.1, usd_per_second=50) as dear:
        place = gateway(sqlite_url, tmp_path, sandbox, dear)
        key = a_live_key(place, reelgate)
        headers = {"Authorization": f"Bearer {key}"}
        with watched(place, tmp_path) as firing:
            with started(place) as server:
                made = submit(place, key, dear, "canned").json()["request_id"]

                def is_over() -> bool:
                    answer = httpx2.get(f"{place.url}/v1/requests/{made}", headers=headers, trust_env=False)
                    return bool(answer.json()["state"] == "completed")

                eventually(is_over)
                stopped(server)
            with started(place) as server:
                fires(firing, "BelowCost")
                stopped(server)
            [one] = reelgate.run(place, "requests", "list", "--json").json
            words = ("--model", one["model_id"], "--version", one["price_version"], "--price", "9999")
            today = datetime.now(UTC).date()
            days = ("--from", str(today - timedelta(1)), "--to", str(today + timedelta(1)))
            reelgate.run(place, "ledger", "reprice", *words, *days, "--reason", "it was too low")
            with started(place):
                ends(firing, "BelowCost", "Down")
                reelgate.run(place, "ledger", "verify")


@contextmanager
def receiving() -> Iterator[tuple[int, list[str]]]:
    """A receiver of webhooks that says yes to everything: its port, and the ids of what it was sent."""
    received: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.headers["webhook-id"])
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library has it
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port, received
        finally:
            server.shutdown()


def test_webhooks_and_copies_that_are_late_and_an_endpoint_whose_secret_is_lost(
    sqlite_url: str, tmp_path: Path, sandbox: Running, reelgate: Commands
) -> None:
    """Nobody runs the loops; then a server has another key than that which sealed the secret."""
    with (
        receiving() as (port, received),
        running(tmp_path / "quick", RealClock(), queue_s=0.1, run_s=0.1) as quick,
    ):
        place = gateway(sqlite_url, tmp_path, sandbox, quick)
        place = place.but(WEBHOOK_KEY=KEYS[0], HTTP_WEBHOOK_HOSTS=f"127.0.0.1:{port}")
        key = a_live_key(place, reelgate)
        reelgate.run(place, "tenants", "set-mirror", "acme", "beside")
        url = f"http://127.0.0.1:{port}/"
        reelgate.run(place, "webhooks", "create", url, "--tenant", "acme")
        headers = {"Authorization": f"Bearer {key}"}
        with watched(place, tmp_path) as firing:
            with started(place.but(RUN_LOOPS="false")) as server:
                made = submit(place, key, quick, "canned").json()["request_id"]
                status = f"{place.url}/v1/requests/{made}/status"  # who reads it has it polled
                eventually(lambda: "completed" in httpx2.get(status, headers=headers, trust_env=False).text)
                fires(firing, "WebhooksLate", "MirrorLate")
                assert received == []
                stopped(server)
            with started(place) as server:
                ends(firing, "WebhooksLate", "MirrorLate", "Down")
                assert len(received) > 0
                stopped(server)
            with started(place.but(WEBHOOK_KEY=KEYS[1])):
                eventually(lambda: "ReelgateDown" not in firing())
                assert submit(place, key, quick, "canned").status_code == 200
                fires(firing, "WebhookEndpointStopped")
                [listed] = reelgate.run(place, "webhooks", "list", "--json").json
                assert listed["state"] == "disabled"
                ends(firing, "WebhookEndpointStopped")
