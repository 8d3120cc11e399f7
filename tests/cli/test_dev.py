"""`reelgate dev`: from nothing to a downloaded video by pasting what it prints."""

import json
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import av
import httpx2
import pytest

from tests.patience import PATIENCE_S
from tests.processes import (
    Commands,
    Place,
    Process,
    bare_environment,
    eventually,
    free_port,
    started,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = {
        "PORT": str(free_port()),
        "SANDBOX_PORT": str(free_port()),
        "SANDBOX_QUEUE_S": "0",
        "SANDBOX_RUN_S": "0",
        "FRESHNESS_S": "0",
    }
    return Place(tmp_path, settings)


def _block(dev: Process) -> str:
    """What is to be pasted, once it was printed."""
    text = eventually(lambda: dev.text() if "ls -l reelgate-demo.mp4" in dev.text() else "")
    start = text.index("export REELGATE_KEY=")
    end = "ls -l reelgate-demo.mp4\n"
    return text[start : text.rindex(end) + len(end)]


def _children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def test_what_it_prints_leads_to_a_video_and_no_sandbox_is_left_behind(place: Place) -> None:
    with started(place, "dev", anew=True) as dev:
        block = _block(dev)
        pasted = place.folder / "pasted"
        pasted.mkdir()
        done = subprocess.run(
            ["/bin/bash", "-eu", "-o", "pipefail"],
            input=block,
            cwd=pasted,
            env=bare_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with av.open(str(pasted / "reelgate-demo.mp4")) as container:
            (stream,) = container.streams.video
            shape = (stream.codec_context.name, stream.codec_context.width, stream.codec_context.height)
            assert shape == ("h264", 1280, 720)
            assert stream.average_rate == 24
            assert sum(1 for _ in container.decode(video=0)) == 121
        (sandbox,) = _children_of(dev.process.pid)
        dev.send(signal.SIGKILL)
        dev.wait()
        eventually(lambda: not _alive(sandbox))
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"http://127.0.0.1:{place.settings['SANDBOX_PORT']}/health", trust_env=False)
    with started(place, "dev") as dev:
        key = block.splitlines()[0]
        assert _block(dev).splitlines()[0] == key
        (sandbox,) = _children_of(dev.process.pid)
        dev.send(signal.SIGTERM)
        assert dev.wait() == 0, dev.text()
        assert not _alive(sandbox)
        assert "Traceback" not in dev.text()
    kept = place.folder / "data" / "demo-key"
    assert kept.stat().st_mode & 0o777 == 0o600


def _status_with(place: Place, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.get(f"{place.url}/v1/models", headers=headers, trust_env=False).status_code


MISSPELT = "REELGATE_PEPER is not a setting; it is ignored. Did you mean REELGATE_PEPPER?"


def test_commands_beside_it_just_work_and_its_key_can_be_shown_again(
    place: Place, reelgate: Commands
) -> None:
    early = reelgate.run(place, "dev", "--show-key", expect=1)
    assert "`reelgate dev` creates it" in early.err
    with started(place.but(PEPER="x", LOG_FORMAT="json"), "dev") as dev:
        shown = _block(dev).splitlines()[0].removeprefix("export REELGATE_KEY=")
        assert reelgate.run(place, "dev", "--show-key").out == f"{shown}\n"
        refused = reelgate.run(place, "restart", expect=1)
        assert "a development server is not replaced" in refused.err
        reelgate.run(place, "tenants", "create", "acme")
        made = reelgate.run(place, "keys", "create", "--tenant", "acme", "--test", "--quiet")
        key = made.out.strip()
        assert (
            made.err == "reelgate: using data/pepper, as `reelgate dev` does; REELGATE_PEPPER is not set.\n"
        )
        assert _status_with(place, key) == _status_with(place, shown) == 200
        levels = {one["name"]: one["level"] for one in reelgate.run(place, "doctor", "--json").json}
        assert (levels["pepper"], levels["database"]) == ("note", "good")
        (line,) = [json.loads(one) for one in dev.text().splitlines() if "REELGATE_PEPER" in one]
        assert (line["event"], line["level"]) == ("A variable is not a setting.", "warning")
        assert line["finding"] == MISSPELT  # once: not by the sandbox that it starts, too
    # In production nothing of that is found.
    make = ("keys", "create", "--tenant", "acme", "--test")
    refused = reelgate.run(place.but(ENVIRONMENT="production"), *make, expect=1)
    assert "REELGATE_PEPPER is not set" in refused.err


def test_the_pepper_of_a_trial_is_not_used_for_the_keys_of_the_production_that_follows_in_its_folder(
    place: Place, reelgate: Commands
) -> None:
    trial = place.but(ENVIRONMENT="development")
    reelgate.run(trial, "migrate")
    reelgate.run(trial, "tenants", "create", "acme")
    make = ("keys", "create", "--tenant", "acme", "--quiet")
    assert "is not set" in reelgate.run(place, *make, expect=1).err, "nothing has needed a pepper yet"
    reelgate.run(trial, *make)
    reelgate.run(place, *make)
    pepper = "a-pepper-of-production-that-is-long-enough-1234567890"
    production = place.but(PEPPER=pepper)
    reelgate.run(production, *make)
    refused = reelgate.run(place, *make, expect=1)
    assert refused.out == ""
    assert "is not the pepper of this database's keys" in refused.err
    ill = reelgate.run(place, "doctor", "--json", expect=1)
    assert {one["name"]: one["level"] for one in ill.json}["keys"] == "bad"
    well = reelgate.run(production, "doctor", "--json")
    assert "keys" not in {one["name"] for one in well.json}


def test_a_misspelt_variable_is_named_by_a_command_that_does_its_work_all_the_same(
    place: Place, reelgate: Commands
) -> None:
    ended = reelgate.run(place.but(PEPER="x", KEY="rg_test_of_the_reader"), "openapi")
    assert ended.err == f"reelgate: {MISSPELT}\n"
    assert ended.json["openapi"].startswith("3.")
