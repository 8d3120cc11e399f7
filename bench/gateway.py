"""The gateway under measurement: its own database, migrated, with a tenant, a test key and servers."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.children import HOST, Child, Children, RunError, clean_environment, free_port, get
from bench.standin import FINISHES

MODEL = "bytedance/dreamina-3-0/image-to-video"
SUBMIT = f"/v1/models/{MODEL}"
_COMMAND_S = 120
_FRESHNESS_S = 3600  # longer than the run, so that reading a live generation never polls it
_FINISH_S = 30


@dataclass(frozen=True, slots=True)
class Site:
    """A migrated database with a tenant, its test key, and the settings that servers and commands share."""

    folder: Path
    database: str
    environment: Mapping[str, str]
    key: str = ""

    def command(self, *arguments: str) -> str:
        """Runs a command of the gateway and returns what it prints.

        Raises:
            RunError: the command failed.

        """
        done = subprocess.run(
            [sys.executable, "-m", "app.cli.entry", *arguments],
            cwd=self.folder,
            env=clean_environment(self.environment),
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        if done.returncode != 0:
            raise RunError(f"reelgate {' '.join(arguments)} failed:\n{done.stdout}{done.stderr[-2000:]}")
        return done.stdout.strip()

    def serve(
        self, children: Children, name: str, *, cores: frozenset[int], **settings: str
    ) -> tuple[Child, int]:
        """Starts a server with a name and port of its own; returns both once the server is ready."""
        port = free_port()
        environment = {**self.environment, **_settings(settings), "REELGATE_PORT": str(port)}
        child = Child(
            name, ["app.cli.entry", "serve"], folder=self.folder, cores=cores, environment=environment
        )
        children.add(child).wait_until_it_answers(port, "/readyz")
        return child, port


def prepare(
    folder: Path, database: str, upstream_port: int, *, tenant: str = "bench", **settings: str
) -> Site:
    """Migrates the database, and creates a tenant and its key through the CLI."""
    environment = {
        "REELGATE_DATABASE_URL": database,
        "REELGATE_DATA_DIR": str(folder),
        "REELGATE_PEPPER": secrets.token_urlsafe(32),
        "REELGATE_SANDBOX_URL": f"http://{HOST}:{upstream_port}",
        # Every kind of limit is checked, and none is reached.
        "REELGATE_DEFAULT_LIMITS": ",".join(
            f"{metric}=900000000" for metric in ("submits-minute", "generations-day", "credits-total")
        ),
        "REELGATE_READS_PER_MINUTE": "0",
        "REELGATE_MEDIA_CHECKS": "off",  # `bench.probing` measures what they cost
        **_settings(settings),
    }
    site = Site(folder, database, environment)
    site.command("migrate")
    site.command("tenants", "create", tenant, "--quiet")
    key = site.command("keys", "create", "--tenant", tenant, "--test", "--quiet")
    return Site(folder, database, environment, key)


def _settings(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"REELGATE_{name}": value for name, value in settings.items()}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, with the ids of finished and of live requests."""

    child: Child
    port: int
    key: str
    finished: list[str]
    live: list[str]

    @property
    def submitted(self) -> int:
        """The number of requests that were submitted before the measuring."""
        return len(self.finished) + len(self.live)


def start_gateway(
    children: Children, *, folder: Path, cores: frozenset[int], database: str, upstream_port: int, jobs: int
) -> Gateway:
    """Starts a server, and submits `jobs` requests that finish and as many that stay live.

    Nothing follows them in the background: `bench.following` measures that.
    """
    site = prepare(folder, database, upstream_port, FRESHNESS_S=str(_FRESHNESS_S), RUN_LOOPS="false")
    child, port = site.serve(children, "gateway", cores=cores)
    finished = [submit(port, site.key, f"a harbour {FINISHES}") for _ in range(jobs)]
    for job in finished:
        # The stand-in does not cancel it, which makes the gateway poll it at once.
        _call(port, f"/v1/requests/{job}/cancel", site.key, b"{}")
    live = [submit(port, site.key, "a harbour") for _ in range(jobs)]
    return Gateway(child, port, site.key, finished, live)


def submit_body(prompt: str, picture: str = "https://example.com/harbour.jpg") -> bytes:
    """Returns a valid body. Nothing fetches the picture unless media are checked."""
    document = {
        "image_urls": [picture],
        "prompt": prompt,
        "number_of_frames": 121,
        "resolution": "720P",
    }
    return json.dumps(document).encode()


def submit(port: int, key: str, prompt: str) -> str:
    """Submits a request and returns its id."""
    request_id: str = _call(port, SUBMIT, key, submit_body(prompt))["request_id"]
    return request_id


def finished_job(port: int, key: str) -> str:
    """Submits a request that finishes, and returns its id once the gateway has followed it to its end."""
    job = submit(port, key, f"a harbour {FINISHES}")
    until = time.monotonic() + _FINISH_S
    while time.monotonic() < until:
        status, answer = get(port, f"/v1/requests/{job}/status", key=key)
        if status == 200 and json.loads(answer)["status"] == "completed":  # noqa: PLR2004 - OK
            return job
        time.sleep(0.1)
    raise RunError(f"a job was not followed to its end within {_FINISH_S} s")


def _call(port: int, path: str, key: str, body: bytes) -> dict[str, str]:
    status, answer = get(port, path, method="POST", key=key, body=body)
    if status not in {200, 202}:
        raise RunError(f"{path} answered {status}: {answer[:500].decode('utf-8', 'replace')}")
    document: dict[str, str] = json.loads(answer)
    return document
