"""A real Prometheus with the shipped rules, at a real gateway with real faults: alerts fire, and end."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import RealClock
from tests.operations.prometheus import METRICS_TOKEN, prometheus, settings, submit
from tests.operations.test_alerts import panels
from tests.processes import Commands, eventually, place_for, started
from tests.sandbox.harness import Running, running


def test_alerts_fire_at_real_faults_and_end_with_them(
    sqlite_url: str, tmp_path: Path, sandbox: Running, live_sandbox: Running, reelgate: Commands
) -> None:
    live = live_sandbox
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, **settings(live))
    place.settings["HTTP_MEDIA_HOSTS"] = live.options.public_url.removeprefix("http://")
    reelgate.run(place, "tenants", "create", "acme")
    key = reelgate.run(place, "keys", "create", "--tenant", "acme", "--json").json["key"]
    targets = [place.url.removeprefix("http://")]
    with started(place) as server, prometheus(tmp_path, targets) as firing:
        assert submit(place, key, live, "queued").status_code == 200
        assert firing() == set()

        # Unknown: RunComfy's answer to a submit is no answer.
        request_id = submit(place, key, live, "html,canned").json()["request_id"]
        eventually(lambda: "ReelgateUnknownRequests" in firing())
        reelgate.run(place, "requests", "resolve", request_id, "--not-charged", "--reason", "a test")
        eventually(lambda: "ReelgateUnknownRequests" not in firing())

        # The gateway is away, and comes back.
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        eventually(lambda: "ReelgateDown" in firing())
        away = place.but(UPSTREAM_BASE_URL="http://127.0.0.1:9")  # where nobody listens
        with started(away) as other:
            eventually(lambda: "ReelgateDown" not in firing())
            # RunComfy is away: the job that was queued is polled in vain.
            eventually(lambda: "ReelgateUpstreamDown" in firing())
            other.send(signal.SIGTERM)
            assert other.wait() == 0
        # A credential that RunComfy refuses.
        wrong = place.but(UPSTREAM_TOKEN="revoked-at-runcomfy")
        with started(wrong) as other:
            submit(wrong, key, live, "canned")
            eventually(lambda: "ReelgateCredentialRefused" in firing())
            eventually(lambda: "ReelgateUpstreamDown" not in firing())
            other.send(signal.SIGTERM)
            assert other.wait() == 0
        with started(place):
            eventually(lambda: firing() <= {"ReelgateCredentialPaused"})
            eventually(lambda: firing() == set())
            reelgate.run(place, "ledger", "verify")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder],  # noqa: S607 - of the system
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"NO SMALL DISK can be mounted here, so none is filled: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=False)  # noqa: S607 - of the system


def test_a_full_disk_is_told_before_and_after_and_is_over_when_there_is_room(
    small_disk: Path, sqlite_template: Path, tmp_path: Path, sandbox: Running, reelgate: Commands
) -> None:
    (small_disk / "reelgate.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{small_disk}/reelgate.db"
    place = place_for(tmp_path, url, sandbox.options.public_url, METRICS_TOKEN=METRICS_TOKEN)
    place.settings["DATA_DIR"] = str(small_disk)
    reelgate.run(place, "tenants", "create", "acme")
    key = reelgate.run(place, "keys", "create", "--test", "--tenant", "acme", "--json").json["key"]
    with started(place), prometheus(tmp_path, [place.url.removeprefix("http://")]) as firing:
        assert submit(place, key, sandbox, "canned").status_code == 200
        ballast = small_disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()

        def is_refused() -> bool:
            return submit(place, key, sandbox, "canned").status_code == 503

        eventually(is_refused)
        eventually(lambda: {"ReelgateDiskFilling", "ReelgateDiskFull"} <= firing())
        ballast.unlink()
        eventually(lambda: submit(place, key, sandbox, "canned").status_code == 200)
        eventually(lambda: not {"ReelgateDiskFilling", "ReelgateDiskFull"} & firing())
        reelgate.run(place, "ledger", "verify")


QUIET = {
    "sum by (reason) (increase(reelgate_database_failures_total[5s]))",
    "sum by (loop) (increase(reelgate_loop_failures_total[5s]))",
    "max by (credential) (reelgate_credential_capacity)",
}
"""Of the dashboard's queries, those without an answer while nothing fails and no credential has a limit."""


def test_every_query_of_the_dashboard_has_an_answer_from_a_gateway_at_work(
    sqlite_url: str, tmp_path: Path, sandbox: Running, reelgate: Commands
) -> None:
    with running(tmp_path / "quick", RealClock(), queue_s=0.1, run_s=0.1) as quick:
        place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, **settings(quick))
        place.settings["HTTP_MEDIA_HOSTS"] = quick.options.public_url.removeprefix("http://")
        reelgate.run(place, "tenants", "create", "acme")
        key = reelgate.run(place, "keys", "create", "--tenant", "acme", "--json").json["key"]
        with started(place) as server:  # money is read when a server starts
            made = submit(place, key, quick, "canned").json()["request_id"]
            eventually(lambda: reelgate.run(place, "requests", "show", made).json["state"] == "completed")
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        wanted = {expr.replace("$__rate_interval", "5s").replace("5m", "5s") for _, expr in panels()} - QUIET
        with started(place), prometheus(tmp_path, [place.url.removeprefix("http://")]) as asked:

            def unanswered() -> set[str]:
                assert submit(place, key, quick, "canned").status_code == 200
                assert submit(place, "rg_live_nobody", quick, "canned").status_code == 401
                return {one for one in wanted if not asked.asked("query", query=one)["result"]}

            left = wanted

            def are_answered() -> bool:
                left.intersection_update(unanswered())
                return not left

            try:
                eventually(are_answered)
            except AssertionError:
                pytest.fail(f"no answer to {left}")
