"""A server that is killed while it copies: the next one leaves nothing over, and copies each file once."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from app.db.engines.engine import Database
from app.db.schema.tables import api_keys, assets, generations
from app.generations.lifecycle import State
from app.kit.json import to_column
from app.mirror import rows
from app.quotas.limits import Payer
from tests.beside import Quiet, serving
from tests.mirror.upstream import FILM
from tests.patience import PATIENCE_S
from tests.processes import a_key, eventually, in_database, place_for, started
from tests.rows import add_generation
from tests.sandbox.harness import Running

FILES = 4


@dataclass
class Films:
    """A server of films that sends half of each until it is free to send the rest."""

    asked: list[str] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    port: int = 0


@contextmanager
def films() -> Iterator[Films]:
    found = Films()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(FILM)))
            self.end_headers()
            self.wfile.write(FILM[:1000])
            self.wfile.flush()
            found.free.wait(PATIENCE_S)
            self.wfile.write(FILM[1000:])

    with serving(Handler) as found.port:
        try:
            yield found
        finally:
            found.free.set()


def test_after_a_kill_every_file_is_copied_once_and_nothing_of_the_first_attempts_is_left(
    database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    tenant_id, _ = a_key(database_url)
    with films() as upstream:
        here = f"127.0.0.1:{upstream.port}"
        place = place_for(
            tmp_path,
            database_url,
            sandbox.options.public_url,
            MIRROR_HOSTS=here,
            MIRROR_PER_TENANT=str(FILES),
        )
        output = {"videos": [f"http://{here}/{number}" for number in range(FILES)]}
        in_database(database_url, lambda db: db.write(_completed, tenant_id, output))
        incoming = tmp_path / "data" / "files" / "incoming"
        with started(place) as server:
            eventually(lambda: len(upstream.asked) == FILES and len(_files(incoming)) == FILES)
            server.send(signal.SIGKILL)
            assert server.wait() == -signal.SIGKILL
        assert len(_files(incoming)) == FILES, "there was something to leave over"
        assert {one.state for one in _rows(database_url)} == {"copying"}
        upstream.free.set()
        in_database(database_url, _the_leases_end)
        with started(place):
            eventually(lambda: {one.state for one in _rows(database_url)} == {"stored"})
            assert _files(incoming) == []
    stored = _rows(database_url)
    assert [one.attempts for one in stored] == [2] * FILES
    assert {one.sha256 for one in stored} == {sha256(FILM).hexdigest()}
    folder = tmp_path / "data" / "files"
    assert [folder / one.storage_key for one in stored] == _files(folder)


def _completed(connection: Connection, tenant_id: str, output: Any) -> None:
    """A request of the tenant's that has completed with this output, whose files are to be copied."""
    now_ms = time.time_ns() // 1_000_000
    kid = connection.execute(select(api_keys.c.kid).where(api_keys.c.tenant_id == tenant_id)).scalar_one()
    made = add_generation(connection, State.IN_QUEUE, owner=(tenant_id, kid), now_ms=now_ms)
    done = {"state": State.COMPLETED, "output": to_column(output), "finished_at_ms": now_ms}
    connection.execute(update(generations).where(generations.c.id == made.id).values(done))
    connection.execute(update(api_keys).where(api_keys.c.kid == kid).values(mirror="beside"))
    payer = Payer(kid)
    begin = partial(rows.begin, tenant_id=tenant_id, mode="test", kid=kid, payer=payer)
    begin(connection, made.id, output, keep_s=None, now_ms=now_ms)


def _rows(url: str) -> list[Any]:
    async def read(db: Database) -> list[Any]:
        query = select(assets).order_by(assets.c.storage_key)
        return await db.read(lambda connection: list(connection.execute(query)))

    found: list[Any] = in_database(url, read)
    return found


async def _the_leases_end(db: Database) -> None:
    """The servers have the machine's own clock."""
    await db.write(lambda connection: connection.execute(update(assets).values(lease_until_ms=1)))


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())
