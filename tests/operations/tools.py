"""Programs of others that the tests of `deploy/` run: each is there, or its test says that it is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "nginx": "nginx",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}
"""By the name of a program, the Debian package that has it."""


def tool(name: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(
            f"{name} IS NOT INSTALLED, so deploy/ is not checked by it: apt-get install {PACKAGES[name]}"
        )
    return found


def said(*command: str | Path, cwd: Path = DEPLOY) -> str:
    """All that a program says; it must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
