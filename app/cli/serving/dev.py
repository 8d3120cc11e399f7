"""`reelgate dev`: gateway, sandbox and a demo tenant on one machine, and a first job to paste."""

import asyncio
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from app.admin.access import keys, tenants
from app.admin.actor import of_command
from app.auth.keys import SCOPES, parse
from app.cli.serving.servers import serve
from app.cli.session import development_by_default, executable, fail, plain_errors, settings_or_exit
from app.config import Settings
from app.db import revision
from app.db.engines.engine import is_sqlite
from app.db.engines.sqlite import server_lock
from app.errors import TENANT_EXISTS, Problem
from app.gateway import Gateway, open_gateway
from app.kit.log import configure_logging
from app.server.process import claim_port

DEMO_TENANT = "demo"
DEMO_MODEL = "bytedance/dreamina-3-0/image-to-video"
DEMO_PICTURE = "harbour.jpg"
DEMO_PROMPT = "the boats rock gently as the sun goes down behind the harbour"
DEMO_ORIGINS = ("http://127.0.0.1:5173", "http://localhost:5173")  # of docs/examples, and of Vite
_NO_SUCCESSOR = "a development server is not replaced: stop it with Ctrl+C, and start it again."
_SANDBOX_START_S = 120  # of a machine that is busy: one that ended is told at once


def dev() -> None:
    """Migrates the database, starts the sandbox, makes the demo tenant's key if needed, and serves."""
    development_by_default()
    settings = settings_or_exit(server=True)
    with plain_errors():
        _migrate(settings)
        key = asyncio.run(_demo_key(settings))
    presented = parse(key)
    if settings.playground_kid is None and presented is not None:
        settings = settings.model_copy(update={"playground_kid": presented.kid})
    with _sandbox(settings):
        serve(settings, on_start=lambda: typer.echo(first_job(settings, key)), no_successor=_NO_SUCCESSOR)


def show_key() -> None:
    """Prints the demo tenant's test key, as the last start of `reelgate dev` stored it."""
    path = _key_file(settings_or_exit())
    if not path.exists():
        fail(f"there is no {path} yet: the first start of `reelgate dev` creates it.")
    with plain_errors():
        typer.echo(path.read_text(encoding="utf-8").strip())


def first_job(settings: Settings, key: str) -> str:
    """Returns the text to print at the start: commands to submit, poll, fetch the result and download it."""
    base, sandbox = settings.base_url, settings.sandbox_public_base_url
    return f"""
Reelgate is listening on {base} (reference: {base}/docs), its sandbox on {sandbox}.
Try it in a browser: {base}/playground
Pictures to try: {sandbox}/samples. Paste this into another terminal:

export REELGATE_KEY={key}

# 1. Submit a picture and a prompt.
REQUEST_ID=$(curl -s {base}/v1/models/{DEMO_MODEL} \\
  -H "Authorization: Bearer $REELGATE_KEY" -H "Content-Type: application/json" \\
  -d '{{"image_urls": ["{sandbox}/samples/{DEMO_PICTURE}"], "prompt": "{DEMO_PROMPT}"}}' \\
  | tee /dev/stderr | sed -n 's/.*"request_id":"\\([^"]*\\)".*/\\1/p'); echo

# 2. Watch its status until it is finished.
until curl -s {base}/v1/requests/$REQUEST_ID/status -H "Authorization: Bearer $REELGATE_KEY" \\
  | tee /dev/stderr | grep -Eq '"status":"(completed|cancelled)"|"code"'; do echo; sleep 1; done; echo

# 3. Fetch the result.
RESULT=$(curl -s {base}/v1/requests/$REQUEST_ID/result -H "Authorization: Bearer $REELGATE_KEY")
echo "$RESULT"

# 4. Download the video: reelgate-demo.mp4.
curl -s -o reelgate-demo.mp4 "$(echo "$RESULT" | sed -n 's/.*"video":"\\([^"]*\\)".*/\\1/p')"
ls -l reelgate-demo.mp4
"""


def _migrate(settings: Settings) -> None:
    lock = server_lock(settings.database) if is_sqlite(settings.database) else None
    revision.upgrade(settings.database)
    if lock is not None:
        lock.release()


def _key_file(settings: Settings) -> Path:
    return settings.data_dir / "demo-key"


async def _demo_key(settings: Settings) -> str:
    """Returns the demo tenant's test key: the one in the data folder while it works, else a new one."""
    configure_logging(level="ERROR", as_json=False)
    path = _key_file(settings)
    async with open_gateway(settings) as gateway:
        if path.exists():
            key = path.read_text(encoding="utf-8").strip()
            with suppress(Problem):
                principal = await gateway.access.authenticator.authenticate(key)
                if principal.scopes >= set(SCOPES):  # else it is older than some of them
                    return key
        await _make_demo_tenant(gateway)
        made = await keys.create(
            gateway, of_command(), DEMO_TENANT, mode="test", name="made by reelgate dev", scopes=SCOPES
        )
    _write_private(path, made.key)
    return made.key


async def _make_demo_tenant(gateway: Gateway) -> None:
    try:
        await tenants.create(gateway, of_command(), DEMO_TENANT)
    except Problem as problem:
        if problem.fault is not TENANT_EXISTS:
            raise
    (found,) = [one for one in (await tenants.listed(gateway)).entries if one.name == DEMO_TENANT]
    if not found.origins:
        await tenants.set_origins(gateway, of_command(), DEMO_TENANT, DEMO_ORIGINS)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")


@contextmanager
def _sandbox(settings: Settings) -> Iterator[None]:
    """Runs the sandbox for the block, as a process that ends with this one, however this one ends."""
    with plain_errors():
        claim_port(settings.sandbox_host, settings.sandbox_port, "REELGATE_SANDBOX_PORT")
    process = subprocess.Popen(  # noqa: S603 - this very command
        [*executable(), "sandbox", "--exit-with-parent"], stdin=subprocess.PIPE
    )
    try:
        _wait_until_it_answers(process, f"{settings.sandbox_base_url}/samples")
        threading.Thread(target=_tell_of_its_end, args=(process,), daemon=True).start()
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def _tell_of_its_end(process: "subprocess.Popen[bytes]") -> None:
    if code := process.wait():  # 0 where we, or a Ctrl-C, ended it
        typer.echo(
            f"reelgate: the sandbox ended (exit code {code}); test keys get a 503 until it runs again.",
            err=True,
        )


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    deadline = time.monotonic() + _SANDBOX_START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            fail("the sandbox did not start; see above.")
        try:
            with opener.open(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    fail(f"the sandbox did not answer at {url} within {_SANDBOX_START_S} s.")
