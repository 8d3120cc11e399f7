"""`reelgate dev`: from nothing to a downloaded video by pasting what it prints."""

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import av
import httpx2
import pytest

from tests.scenarios.processes import (
    PATIENCE_S,
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
    with started(place, "dev") as dev:
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
