"""The machine's surroundings: real gateways over one database, one clock, one fake upstream; crashes."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, select, text

from app.admin.verifying.verify import Report, verify
from app.auth import keys, tenants
from app.auth.keys import Mode
from app.db.engines.engine import is_sqlite
from app.db.schema.tables import generations, ledger_entries, metadata, quota_usage
from app.errors import DATABASE_UNAVAILABLE, Problem
from app.gateway import Gateway
from app.generations.dispatch import dispatcher as dispatching
from app.main import create_server_app
from app.quotas.amounts import credits_text
from tests.admin.books import engine_of
from tests.chaos import chaos
from tests.harness import PEPPER, FakeClock, settings_for, without_loops
from tests.machine.model import Line, Options
from tests.machine.upstream import ID_PREFIX, TOKENS, FakeUpstream
from tests.patience import PATIENCE_S

MODELS = Path(__file__).parents[1] / "data" / "models"
START_MS = 1_790_000_000_000
_HOUR_S = 3600.0  # of real time: no deadline is what these tests are about
_TABLES = [
    name
    for name, table in metadata.tables.items()
    if name in {"tenants", "unsent_inputs", "client_token_refusals"}
    or ("tenant_id" in table.columns and name != "audit_entries")  # a chain, which goes on
]
"""Where data of tenants is."""


class Clock(FakeClock):
    """Stands still; short pauses take no time, unless they are `held`."""

    def __init__(self) -> None:
        super().__init__(START_MS)
        self.held = False

    async def sleep(self, delay_s: float) -> None:
        if delay_s > 1 or self.held:
            await super().sleep(delay_s)
        else:
            await asyncio.sleep(0)


@dataclass
class Server:
    """One gateway that serves."""

    gateway: Gateway
    client: httpx2.AsyncClient
    options: Options
    folder: Path
    serving: "asyncio.Task[None]"
    leave: asyncio.Event
    hanging: dict[str, "asyncio.Task[httpx2.Response]"] = field(default_factory=dict)


@dataclass
class Place:
    """Everything that outlives a gateway."""

    database_url: str
    folder: Path
    clock: Clock
    upstream: FakeUpstream
    upstream_url: str
    nowhere: str
    tenant_id: str = ""
    stranger: str = ""
    servers: list[Server] = field(default_factory=list)
    _folders: int = 0

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    @property
    def gateway(self) -> Gateway:
        return self.servers[0].gateway

    async def start(self, options: Options, folder: Path | None = None) -> Server:
        """Open a gateway, in the folder of one that is no more or in an own one."""
        if folder is None:
            self._folders += 1
            folder = self.folder / f"server-{self._folders}"
        limits = [
            f"{metric}={credits_text(amount) if metric.startswith('credits') else amount}"
            for metric, amount in options.default_limits
        ]
        url = self.nowhere if options.cut_off else self.upstream_url
        settings = settings_for(
            self.database_url,
            folder,
            url,
            sandbox_token=TOKENS["test"],
            upstream_base_url=url,
            upstream_token=TOKENS["live"],
            catalog_dir=MODELS,
            reads_per_minute=0,
            freshness_s=0,
            follow_for_s=10**8,
            settle_on=options.settle_on,
            charge_for=list(options.charge_for),
            unknown_slot_s=options.unknown_slot_s,
            default_limits=limits,
        ).model_copy(update={"submit_deadline_s": _HOUR_S, "read_deadline_s": _HOUR_S})
        app, edge = create_server_app(settings, clock=self.clock)
        ready, leave = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with app.router.lifespan_context(app):
                ready.set()
                await leave.wait()

        serving = asyncio.create_task(serve())
        waiting = asyncio.create_task(ready.wait())
        with without_loops():
            await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            waiting.cancel()
            await serving
        for credential in app.state.gateway.pool.all.values():
            credential.guarded = False  # when one is left alone is not what is modelled here
        # Nor is a cancel's patience with a submit under way: time stands still while it waits.
        object.__setattr__(app.state.gateway.following.canceller, "patience_s", 0.0)
        transport = httpx2.ASGITransport(edge, raise_app_exceptions=False)
        client = httpx2.AsyncClient(transport=transport, base_url="http://gateway.test")
        server = Server(app.state.gateway, client, options, folder, serving, leave)
        self.servers.append(server)
        return server

    async def stop(self, server: Server) -> None:
        """As a signal does: what is under way comes to its end. Nothing may hang."""
        self.servers.remove(server)
        server.leave.set()
        await server.serving
        await server.client.aclose()

    async def crash(self, server: Server) -> None:
        """No task gets any further, and nothing is written that has not been."""
        under_way = [*server.hanging.values(), *server.gateway.tasks._running]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for mark in server.hanging:
            self.upstream.let_go(mark, "lost")
        await self.stop(server)

    async def call(
        self, server: Server, key: str, method: str, path: str, *, body: Any = None, **headers: str
    ) -> httpx2.Response:
        """One call; whatever it is answered, nothing of the upstream's own is in it."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await server.client.request(
            method, path, json=body, headers={"Authorization": f"Bearer {key}", **sent}
        )
        told = answer.text + str(answer.headers)
        assert ID_PREFIX not in told, told
        assert not any(token in told for token in TOKENS.values()), told
        assert answer.status_code != 500, told
        return answer

    async def cut_before_the_record(self, server: Server, task: "asyncio.Task[httpx2.Response]") -> None:
        """Crash a server that has the upstream's answer, and could not commit it."""

        def never(*_: Any, **__: Any) -> None:
            raise Problem(DATABASE_UNAVAILABLE, "away")

        spool, self.clock.held = server.folder / "spool.jsonl", True
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(dispatching, "record_outcome", never)
            async with asyncio.timeout(PATIENCE_S):
                while not spool.exists() or not spool.read_bytes().endswith(b"\n"):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            server.hanging["-"] = task
            await self.crash(server)
        self.clock.held = False

    async def key_line(self, mode: Mode, tenant_id: str | None = None) -> Line:
        kid, key = await self.gateway.db.write(
            keys.create,
            tenant_id or self.tenant_id,
            mode=mode,
            name="",
            pepper=PEPPER,
            now_ms=self.now_ms,
        )
        return Line(mode, kid, [(kid, key, None)])

    async def rotate(self, line: Line, overlap_s: int) -> None:
        kid, _, _ = line.keys[-1]
        new_kid, key, ends_ms = await self.gateway.db.write(
            keys.rotate, kid, overlap_ms=overlap_s * 1000, pepper=PEPPER, now_ms=self.now_ms
        )
        line.keys[-1] = (*line.keys[-1][:2], ends_ms)
        line.keys.append((new_kid, key, None))

    async def rows(self) -> "list[Mapping[str, Any]]":
        return await self.gateway.db.read(_rows)

    async def balances(self, mode: str) -> tuple[int, int]:
        """The tenant's own, of the sums that are kept and of the ledger."""
        return await self.gateway.db.read(_balances, self.tenant_id, mode)

    async def report(self) -> Report:
        return await self.gateway.db.snapshot(verify)


def _rows(connection: Connection) -> "list[Mapping[str, Any]]":
    table = generations.c
    columns = (
        *(table.id, table.tenant_id, table.kid, table.root_kid, table.mode, table.model_id, table.quota_day),
        *(table.state, table.charge, table.price_microcredits, table.output_seconds),
        *(table.upstream_request_id, table.input),
        *(table.idempotency_key, table.changed_at_ms),
    )
    return [
        {**row, "mark": json.loads(row["input"])["prompt"]}
        for row in connection.execute(select(*columns)).mappings()
    ]


def _balances(connection: Connection, tenant_id: str, mode: str) -> tuple[int, int]:
    usage, entry = quota_usage.c, ledger_entries.c
    kept = connection.execute(
        select(usage.added_microcredits - usage.held_microcredits - usage.spent_microcredits).where(
            usage.tenant_id == tenant_id,
            usage.mode == mode,
            usage.kid == "",
            usage.model_id == "",
            usage.period == "total",
        )
    ).scalar_one_or_none()
    entries = connection.scalars(
        select(entry.microcredits).where(
            entry.tenant_id == tenant_id, entry.mode == mode, entry.kid == "", entry.model_id == ""
        )
    )
    return kept or 0, sum(entries)


@asynccontextmanager
async def open_place(database_url: str, folder: Path) -> AsyncIterator[Place]:
    """An upstream, and a gateway over an empty database with one tenant and a stranger."""
    _empty(database_url)
    upstream = FakeUpstream()
    with socket.socket() as nobody:  # bound and not listening: whoever connects is refused
        nobody.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with chaos(upstream.serve) as served:
            place = Place(database_url, folder, Clock(), upstream, served.url, nowhere)
            await place.start(Options())
            try:
                for name in ("acme", "other"):
                    tenant = await place.gateway.db.write(tenants.create, name, now_ms=START_MS)
                    if name == "acme":
                        place.tenant_id = tenant.id
                    else:
                        place.stranger = (await place.key_line("test", tenant.id)).keys[0][1]
                yield place
            finally:
                for server in list(place.servers):
                    await place.crash(server)


def _empty(database_url: str) -> None:
    """As new. On PostgreSQL that is faster than another database."""
    if is_sqlite(database_url):
        return
    engine = engine_of(database_url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in _TABLES:
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608
    engine.dispose()
