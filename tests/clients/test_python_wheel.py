"""The Python library as a stranger has it: the wheel in an environment of its own, and its README."""

import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.clients.conftest import Stack
from tests.patience import PATIENCE_S
from tests.processes import bare_environment

LIBRARY = Path(__file__).parents[2] / "clients" / "python"
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, LIBRARY], check=True)
    (made,) = folder.iterdir()
    return made


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_the_first_lines_of_the_readme_make_a_video(
    stack: Stack, mark: str, wheel: Path, version: str, tmp_path: Path
) -> None:
    _prepare("venv", "--quiet", "--no-python-downloads", "--python", _python(version), tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    _prepare("pip", "install", "--quiet", "--python", python, wheel)
    (tmp_path / "harbour.jpg").write_bytes(httpx2.get(stack.picture, trust_env=False).content)
    (program, *_) = re.findall(
        r"^```python\n(.*?)```", (LIBRARY / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len([line for line in program.splitlines() if line and not line.startswith("from ")]) <= 5
    done = subprocess.run(
        [python, "-c", program.replace('gently"', f'{mark} [sandbox:canned]"')],
        cwd=tmp_path,
        env=bare_environment() | {"REELGATE_URL": stack.url, "REELGATE_KEY": stack.key, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "harbour.mp4\n", done.stderr
    assert (tmp_path / "harbour.mp4").read_bytes()[4:8] == b"ftyp"
    assert stack.received(mark) == 1
    assert (
        "reelgate-client"
        in subprocess.run(
            [python, "-m", "reelgate_client", "--version"], capture_output=True, text=True, check=True
        ).stdout
    )


def _python(version: str) -> str:
    """Where pyenv keeps it, whose own command may hide it from uv; else the name by which uv looks for it."""
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(found[-1]) if found else version


def _prepare(*command: str | Path) -> None:
    done = subprocess.run([UV, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"uv {command[0]} fails here: {done.stderr[-300:]}")
