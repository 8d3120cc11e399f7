"""The wheel: built of this commit, the same bytes each time, and a gateway in an environment of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.processes import free_port
from tools import release

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("SKIPPED: the wheel is built of a commit, and there is no git repository here.")
    return release.build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def environment(archives: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment that has the wheel, and what it depends on, alone."""
    place = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, place], check=True)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", place / "bin" / "python"]
    done = subprocess.run(
        [*install, archives[0], "--constraint", pins(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"SKIPPED: packages cannot be installed here, so no wheel was run: {done.stderr[-300:]}")
    return place / "bin"


def pins(place: Path) -> Path:
    """The versions of the lock, without the digests, which uv does not take as constraints of a wheel."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    file = place / "pins.txt"
    file.write_text("\n".join(one.rstrip(" \\") for one in lines if one and one[0].isalpha()))
    return file


def variables(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REELGATE_", "PYTHON"))}
    return kept | {"REELGATE_PEPPER": "only-for-this-test-0123456789-abcdef"} | more


def command(environment: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment / "reelgate", *arguments],
        cwd=folder,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def test_wheel_and_sdist_are_the_same_bytes_each_time_and_have_all_that_is_needed(
    archives: list[Path], tmp_path: Path
) -> None:
    again = release.build(ROOT, tmp_path)
    assert [release.sha256(one) for one in archives] == [release.sha256(one) for one in again]
    version = release.version_of(ROOT)
    faults = [fault for one in archives for fault in release.faults_of_the_contents(one, ROOT, version)]
    assert faults == []


def test_a_fresh_environment_migrates_serves_and_has_its_pages_models_and_contract(
    environment: Path, tmp_path: Path
) -> None:
    assert command(environment, tmp_path, "--version").stdout == f"reelgate {release.version_of(ROOT)}\n"
    assert "The schema went from nothing to" in command(environment, tmp_path, "migrate").stdout
    made = json.loads(command(environment, tmp_path, "tenants", "create", "acme", "--json").stdout)
    assert made["name"] == "acme"
    key = command(environment, tmp_path, "keys", "create", "--tenant", "acme", "--quiet").stdout.strip()
    port = free_port()
    server = subprocess.Popen(
        [environment / "reelgate", "serve"],
        cwd=tmp_path,
        env=variables(REELGATE_PORT=str(port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        until_ready(server, base)
        assert b"Operating" in fetch(f"{base}/guides/operating")
        assert b"swagger" in fetch(f"{base}/docs").lower()
        assert b"export" in fetch(f"{base}/client.js")
        assert json.loads(fetch(f"{base}/openapi.json"))["openapi"].startswith("3.1")
        models = json.loads(fetch(f"{base}/v1/models", key))["models"]
        assert len(models) == len(list((ROOT / "app/catalog/models").rglob("*.json")))
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()


def until_ready(server: subprocess.Popen[bytes], base: str) -> None:
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            fetch(f"{base}/readyz")
        except httpx2.HTTPError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server of the wheel did not become ready")


def fetch(url: str, key: str = "") -> bytes:
    answer = httpx2.get(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    answer.raise_for_status()
    return answer.content


def test_uvx_runs_the_command_without_an_installation(archives: list[Path], environment: Path) -> None:
    done = subprocess.run(
        [UV, "tool", "run", "--quiet", "--from", archives[0], "reelgate", "--version"],
        env=variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"reelgate {release.version_of(ROOT)}\n"
