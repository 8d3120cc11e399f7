"""A real OpenID provider: certified code of others, installed by its lock, on a port of this machine."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_S
from tests.processes import eventually

TOOLS = Path(__file__).parents[2] / "tools" / "oidc"
SECRET = "secret of the client's"


def installed() -> str:
    """Node.js, beside which the provider is installed; without it the test is skipped."""
    npm, found = shutil.which("npm"), shutil.which("node")
    if npm is None or found is None:
        pytest.skip("no npm here: install Node.js")
    made, lock = TOOLS / "node_modules" / ".package-lock.json", TOOLS / "package-lock.json"
    if not made.exists() or made.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(
            [npm, "ci", "--silent", "--prefix", TOOLS], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"npm cannot install the provider here: {done.stderr[-300:]}")
    return found


@contextmanager
def providing(node: str, port: int, redirect: str) -> Iterator[str]:
    """A provider in which whoever types a name is in the group of that name."""
    issuer = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [node, TOOLS / "provider.mjs", str(port), redirect],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ready() -> bool:
        assert process.poll() is None
        try:
            return httpx2.get(f"{issuer}/jwks", trust_env=False).status_code == 200
        except httpx2.HTTPError:
            return False

    try:
        eventually(ready)
        yield issuer
    finally:
        process.kill()
        process.wait(PATIENCE_S)
