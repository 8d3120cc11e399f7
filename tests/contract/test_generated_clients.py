"""Clients that public generators make of the published contract drive a served gateway with its sandbox."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.admin.access import admin_keys
from app.admin.actor import Actor
from app.server.protocol import GuardedProtocol, Limits
from tests.console.network import HOST, served
from tests.harness import World

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools" / "clients"
DRIVERS = Path(__file__).parent / "clients"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Of one kind only: what a client sees does not depend on it."""
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of an environment of its own: the generator's packages contradict ours."""
    uv = Path(sys.executable).with_name("uv")
    _prepare(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    made = tmp_path / "env" / "bin" / "python"
    lock = TOOLS / "requirements.lock"
    _prepare(uv, "pip", "install", "--quiet", "--python", made, "--require-hashes", "-r", lock)
    return made


@pytest.fixture
def node_modules() -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here: install Node.js")
    lock, modules = TOOLS / "package-lock.json", TOOLS / "node_modules"
    installed = modules / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        _prepare(npm, "ci", "--silent", "--prefix", TOOLS)
    return modules


def _prepare(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{Path(command[0]).name} cannot install the generator here: {done.stderr[-300:]}")


async def test_a_python_client_is_made_of_the_contract_and_drives_the_gateway(
    world: World, python: Path, tmp_path: Path
) -> None:
    client = tmp_path / "reelgate_client"
    generator, contract = python.with_name("openapi-python-client"), ROOT / "openapi.json"
    options = ("--meta", "none", "--fail-on-warning", "--output-path", client)
    await _run(generator, "generate", "--path", contract, *options, path=python.parent)
    shutil.copy(DRIVERS / "drive.py", tmp_path)
    async with _serving(world) as url:
        await _run(python, tmp_path / "drive.py", url, env=_identity(world))


@pytest.mark.parametrize("world_settings", [{"admin_api": True}])
async def test_a_python_client_is_made_of_the_admin_contract_and_administers(
    world: World, python: Path, tmp_path: Path
) -> None:
    """All of it but one operation, whose body is CSV: that is beyond the generator, which says so."""
    client = tmp_path / "reelgate_admin"
    generator, contract = python.with_name("openapi-python-client"), ROOT / "openapi-admin.json"
    options = ("--meta", "none", "--output-path", client)
    said = await _run(generator, "generate", "--path", contract, *options, path=python.parent)
    assert [line for line in said.splitlines() if line.startswith("WARNING")] == [
        "WARNING parsing POST /admin/v1/ledger/reconciliation within ledger. Endpoint will not be generated."
    ]
    shutil.copy(DRIVERS / "drive_admin.py", tmp_path)
    made = await admin_keys.create(
        world.gateway, Actor("command", "olga"), "olga", ("root",), lifetime_ms=None
    )
    async with _serving(world) as url:
        await _run(python, tmp_path / "drive_admin.py", url, env={"KEY": made.key})


async def test_a_typescript_client_is_made_of_the_contract_type_checks_and_drives_the_gateway(
    world: World, node_modules: Path, tmp_path: Path
) -> None:
    for name in ("drive.mjs", "tsconfig.json", "node.d.ts"):
        shutil.copy(DRIVERS / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules)
    types = tmp_path / "schema.d.ts"
    await _run(node_modules / ".bin" / "openapi-typescript", ROOT / "openapi.json", "--output", types)
    schemas = types.read_text().partition("    schemas: {")[2].partition("    responses: ")[0]
    assert "Record<string, never>" not in schemas, "an object without a description of its members"
    await _run(node_modules / ".bin" / "tsc", "--project", tmp_path)
    async with _serving(world) as url:
        await _run("node", tmp_path / "drive.mjs", url, env=_identity(world))


@asynccontextmanager
async def _serving(world: World) -> AsyncIterator[str]:
    """Serves the gateway over real HTTP, its clock and the sandbox's running."""

    async def flow() -> None:
        while True:
            world.clock.advance(0.5)
            world.sandbox.clock.now += 0.5
            await asyncio.sleep(0.01)

    edge: Any = world.client._transport
    protocol = partial(GuardedProtocol, Limits.of(world.gateway.settings))
    async with served(edge.app, http=protocol) as port:
        flowing = asyncio.create_task(flow())
        try:
            yield f"http://{HOST}:{port}"
        finally:
            flowing.cancel()
            await asyncio.gather(flowing, return_exceptions=True)


def _identity(world: World) -> dict[str, str]:
    return {"KEY": world.key, "PICTURE": f"{world.sandbox.options.public_url}/samples/harbour.jpg"}


async def _run(*command: str | Path, path: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    environment = {**os.environ, **(env or {})}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()
