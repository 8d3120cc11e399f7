"""The gateway under measurement: its own database, migrated, with a tenant, a test key and a few jobs."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from bench.children import HOST, Child, Children, RunError, clean_environment, free_port, get
from bench.standin import FINISHES

MODEL = "bytedance/dreamina-3-0/image-to-video"
SUBMIT = f"/v1/models/{MODEL}"
_TENANT = "bench"
_COMMAND_S = 60
_FRESHNESS_S = 3600  # a live job stays inside the limit for the whole run


@dataclass(frozen=True, slots=True)
class Gateway:
    """A served gateway. `submitted` counts the jobs that `submit` made."""

    child: Child
    port: int
    key: str
    finished: list[str]
    live: list[str]

    @property
    def submitted(self) -> int:
        """How many jobs were submitted before the measuring."""
        return len(self.finished) + len(self.live)


def start_gateway(
    children: Children, *, folder: Path, cores: frozenset[int], database: str, upstream_port: int, jobs: int
) -> Gateway:
    """Migrate, make a tenant and its key through the CLI, serve, and submit `jobs` finished and live jobs."""
    port = free_port()
    environment = {
        "REELGATE_PORT": str(port),
        "REELGATE_DATABASE_URL": database,
        "REELGATE_DATA_DIR": str(folder),
        "REELGATE_PEPPER": secrets.token_urlsafe(32),
        "REELGATE_SANDBOX_URL": f"http://{HOST}:{upstream_port}",
        "REELGATE_FRESHNESS_S": str(_FRESHNESS_S),
        # Every kind of limit is judged, and none is in the way.
        "REELGATE_DEFAULT_LIMITS": ",".join(
            f"{metric}=900000000" for metric in ("submits-minute", "generations-day", "credits-total")
        ),
        "REELGATE_READS_PER_MINUTE": "0",
    }
    _command(folder, environment, "migrate")
    _command(folder, environment, "tenants", "create", _TENANT, "--quiet")
    key = _command(folder, environment, "keys", "create", "--tenant", _TENANT, "--test", "--quiet")
    child = Child("gateway", ["app.cli.entry", "serve"], folder=folder, cores=cores, environment=environment)
    children.add(child).wait_until_it_answers(port, "/readyz")
    finished = [_submit(port, key, f"a harbour {FINISHES}") for _ in range(jobs)]
    for job in finished:
        # The stand-in cannot cancel it, which makes the gateway look at it at once.
        _call(port, f"/v1/requests/{job}/cancel", key, b"{}")
    live = [_submit(port, key, "a harbour") for _ in range(jobs)]
    return Gateway(child, port, key, finished, live)


def submit_body(prompt: str) -> bytes:
    """A valid body. Nothing fetches the picture."""
    document = {
        "image_urls": ["https://example.com/harbour.jpg"],
        "prompt": prompt,
        "number_of_frames": 121,
        "resolution": "720P",
    }
    return json.dumps(document).encode()


def _submit(port: int, key: str, prompt: str) -> str:
    request_id: str = _call(port, SUBMIT, key, submit_body(prompt))["request_id"]
    return request_id


def _call(port: int, path: str, key: str, body: bytes) -> dict[str, str]:
    status, answer = get(port, path, method="POST", key=key, body=body)
    if status not in {200, 202}:
        raise RunError(f"{path} answered {status}: {answer[:500].decode('utf-8', 'replace')}")
    document: dict[str, str] = json.loads(answer)
    return document


def _command(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """What a command of the gateway prints."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.entry", *arguments],
        cwd=folder,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=False,
    )
    if done.returncode != 0:
        raise RunError(f"reelgate {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip()


@contextmanager
def database_of_its_own(url: str | None, folder: Path) -> Iterator[str]:
    """An empty database: a file in the folder, or one made on the PostgreSQL server and dropped again."""
    if url is None:
        yield f"sqlite:///{folder / 'reelgate.db'}"
        return
    try:
        server = make_url(url)
    except ValueError as error:
        raise RunError(f"--database: {error}") from error
    if server.get_backend_name() != "postgresql":
        raise RunError("--database takes sqlite or the URL of a PostgreSQL server.")
    name = f"reelgate_bench_{secrets.token_hex(4)}"
    engine = create_engine(
        server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
