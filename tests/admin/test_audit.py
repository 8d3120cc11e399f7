"""The audit log: whatever an operator's use case changes leaves one row, or nothing happens."""

import ast
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

import app.admin
from app.admin import audit
from app.admin.access import admin_keys, client_tokens, erasure, keys, sign_ins, tenants
from app.admin.accounts import AccountName
from app.admin.actor import Actor
from app.admin.amounts import ledger, limits, overrides
from app.admin.audit import Change
from app.admin.running import dispatch, requests
from app.admin.webhooks import webhook_endpoints, webhook_log
from app.auth import admin_keys as admin_key_rows
from app.auth.tenants import by_name, list_all
from app.db.engines.engine import Database
from app.db.schema.tables import audit_entries
from app.errors import INVALID_REASON, LIMIT_NOT_FOUND, TENANT_NOT_FOUND, Problem
from app.gateway import Gateway
from app.quotas import account
from tests.admin.use_cases import use_cases
from tests.harness import World
from tests.rows import PEPPER, add_owner

pytestmark = pytest.mark.anyio

ACTOR = Actor("command", "olga")
REASON = "the ticket says so"


def rows(connection: Connection) -> list[dict[str, Any]]:
    found = connection.execute(select(audit_entries).order_by(audit_entries.c.seq)).mappings()
    return [{**json.loads(row["text"]), **row} for row in found]


async def unknown(world: World) -> str:
    answer = await world.submit("html,canned")
    assert answer.status_code == 504
    return str(answer.json()["request_id"])


def _add_admin_key(connection: Connection) -> tuple[str, str]:
    return admin_key_rows.create(connection, name="otto", scopes=["root"], pepper=PEPPER, now_ms=1)


class Office:
    """A world with what every use case needs to have something to do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gateway: Gateway = world.gateway
        self.kid = world.key.split("_")[2]
        self.of = AccountName(tenant="acme", test=True)

    async def override(self) -> None:
        until = datetime.fromtimestamp(self.gateway.clock.now_ms() / 1000 + 60, UTC)
        made = await overrides.create(self.gateway, ACTOR, self.of, "in-flight=9", until, reason=REASON)
        self.override_id = made.override.id

    async def webhook(self) -> object:
        made = await webhook_endpoints.create(
            self.gateway, ACTOR, "acme", mode="test", url="https://hooks.example/", reason=REASON
        )
        self.endpoint_id = made.endpoint.id
        return made

    async def tested(self) -> None:
        made = await webhook_endpoints.send_test(self.gateway, ACTOR, self.endpoint_id, reason=REASON)
        self.delivery_id = made.delivery.id

    async def replay(self) -> None:
        since = datetime(2020, 1, 1, tzinfo=UTC)
        made = await webhook_log.replay(self.gateway, ACTOR, self.endpoint_id, since=since, reason=REASON)
        self.replay_id = made.replay.id

    async def furnish(self) -> None:
        await self.gateway.db.write(lambda at: at.execute(text("UPDATE tenants SET name = 'acme'")) and None)
        self.unknown = [await unknown(self.world), await unknown(self.world)]
        self.upstream_id = self.world.received()[0]["request_id"]
        minted = await self.world.client.post("/v1/client-tokens", json={})
        self.token_id = minted.json()["token_id"]
        self.spare = (await self.world.another_key()).split("_")[2]
        _, key = await self.gateway.db.write(_add_admin_key)
        self.admin_kid = key.split("_")[2]


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"portal": True}


# Each use case that writes, in an order in which each finds what it needs.
WRITES: dict[str, Callable[[Office], Awaitable[object]]] = {
    "tenants.create": lambda at: tenants.create(at.gateway, ACTOR, "Other", reason=REASON),
    "tenants.rename": lambda at: tenants.rename(at.gateway, ACTOR, "Other", "Another", reason=REASON),
    "tenants.set_time_zone": lambda at: tenants.set_time_zone(
        at.gateway, ACTOR, "acme", "Europe/Berlin", reason=REASON
    ),
    "tenants.set_media_checks": lambda at: tenants.set_media_checks(
        at.gateway, ACTOR, "acme", "warn", reason=REASON
    ),
    "tenants.set_origins": lambda at: tenants.set_origins(
        at.gateway, ACTOR, "acme", ["https://app.example"], reason=REASON
    ),
    "tenants.set_mirror": lambda at: tenants.set_mirror(
        at.gateway, ACTOR, "acme", "beside", keep_s=60, reason=REASON
    ),
    "tenants.set_queueing": lambda at: tenants.set_queueing(
        at.gateway, ACTOR, "acme", queueing=True, weight=3, reason=REASON
    ),
    "tenants.disable": lambda at: tenants.disable(at.gateway, ACTOR, "acme", reason=REASON),
    "tenants.enable": lambda at: tenants.enable(at.gateway, ACTOR, "acme", reason=REASON),
    "keys.create": lambda at: keys.create(at.gateway, ACTOR, "acme", mode="test", reason=REASON),
    "keys.rotate": lambda at: keys.rotate(at.gateway, ACTOR, at.spare, overlap_ms=1000, reason=REASON),
    "keys.revoke": lambda at: keys.revoke(at.gateway, ACTOR, at.spare, reason=REASON),
    "keys.set_mirror": lambda at: keys.set_mirror(at.gateway, ACTOR, at.kid, mirror="instead", reason=REASON),
    "erasure.erase": lambda at: erasure.erase(at.gateway, ACTOR, "acme", end_user="ann", reason=REASON),
    "keys.set_queueing": lambda at: keys.set_queueing(
        at.gateway, ACTOR, at.kid, queueing=False, reason=REASON
    ),
    "keys.narrow": lambda at: keys.narrow(at.gateway, ACTOR, at.kid, name="web", reason=REASON),
    "admin_keys.create": lambda at: admin_keys.create(at.gateway, ACTOR, "olga", ["read"], reason=REASON),
    "admin_keys.rotate": lambda at: admin_keys.rotate(
        at.gateway, ACTOR, at.admin_kid, overlap_ms=1000, reason=REASON
    ),
    "admin_keys.revoke": lambda at: admin_keys.revoke(at.gateway, ACTOR, at.admin_kid, reason=REASON),
    "client_tokens.revoke": lambda at: client_tokens.revoke(at.gateway, ACTOR, at.token_id, reason=REASON),
    "limits.set_limits": lambda at: limits.set_limits(
        at.gateway, ACTOR, at.of, ["in-flight=5", "credits-day=none"], reason=REASON
    ),
    "limits.unset_limits": lambda at: limits.unset_limits(
        at.gateway, ACTOR, at.of, ["in-flight", "credits-day"], reason=REASON
    ),
    "sign_ins.create_link": lambda at: sign_ins.create_link(at.gateway, ACTOR, at.kid, reason=REASON),
    "overrides.create": lambda at: at.override(),
    "overrides.end": lambda at: overrides.end(at.gateway, ACTOR, at.override_id, reason=REASON),
    "ledger.top_up": lambda at: ledger.top_up(
        at.gateway, ACTOR, at.of, "12.5", reference="INVOICE-1", reason=REASON
    ),
    "ledger.adjust": lambda at: ledger.adjust(at.gateway, ACTOR, at.of, "-1", note="goodwill", reason=REASON),
    "requests.resolve": lambda at: requests.resolve(
        at.gateway, ACTOR, at.unknown[1], upstream_request_id=at.upstream_id, reason=REASON
    ),
    "dispatch.pause": lambda at: dispatch.pause(at.gateway, ACTOR, modes=["live"], reason=REASON),
    "dispatch.resume": lambda at: dispatch.resume(at.gateway, ACTOR, modes=["live"], reason=REASON),
    "webhook_endpoints.create": lambda at: at.webhook(),
    "webhook_endpoints.edit": lambda at: webhook_endpoints.edit(
        at.gateway, ACTOR, at.endpoint_id, url="https://hooks.example/2", reason=REASON
    ),
    "webhook_endpoints.pause": lambda at: webhook_endpoints.pause(
        at.gateway, ACTOR, at.endpoint_id, reason=REASON
    ),
    "webhook_endpoints.enable": lambda at: webhook_endpoints.enable(
        at.gateway, ACTOR, at.endpoint_id, reason=REASON
    ),
    "webhook_endpoints.rotate": lambda at: webhook_endpoints.rotate(
        at.gateway, ACTOR, at.endpoint_id, reason=REASON
    ),
    "webhook_endpoints.revoke_previous": lambda at: webhook_endpoints.revoke_previous(
        at.gateway, ACTOR, at.endpoint_id, reason=REASON
    ),
    "webhook_endpoints.send_test": lambda at: at.tested(),
    "webhook_log.resend": lambda at: webhook_log.resend(at.gateway, ACTOR, at.delivery_id, reason=REASON),
    "webhook_log.replay": lambda at: at.replay(),
    "webhook_log.cancel_replay": lambda at: webhook_log.cancel_replay(
        at.gateway, ACTOR, at.replay_id, reason=REASON
    ),
    "webhook_endpoints.reseal": lambda at: webhook_endpoints.reseal(at.gateway, ACTOR, reason=REASON),
    "webhook_endpoints.delete": lambda at: webhook_endpoints.delete(
        at.gateway, ACTOR, at.endpoint_id, reason=REASON
    ),
}


def test_every_use_case_with_an_actor_is_tried_below() -> None:
    acting = {name for name, signature in use_cases().items() if "actor" in signature.parameters}
    # These need a history, a file or a stopped server of their own, which their own tests make.
    elsewhere = {
        "reprice.reprice",
        "statements.close",
        "archive.archive",
        "recover.recover",
        "restore.restore",
    }
    assert acting - {"audit.write"} - elsewhere == set(WRITES)
    without = [name for name in WRITES if "reason" not in use_cases()[name].parameters]
    assert without == [], "a use case that writes takes a reason"


def test_nothing_of_the_package_writes_but_by_the_audit_log() -> None:
    """Else a use case could change something without an actor, and so without a row."""
    (folder,) = map(Path, app.admin.__path__)
    writing = {
        path.stem
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in {"write", "write_for"}
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "db"
    }
    # Time alone closes a month, removes an old call or hour of usage, and raises a condition.
    assert writing == {"archive", "audit", "statements", "calls", "conditions"}
    commands = Path(app.admin.__file__ or "").parents[1] / "cli"
    assert [path.name for path in commands.rglob("*.py") if "db.write" in path.read_text()] == []


async def test_each_leaves_one_row_that_says_who_what_and_why(world: World) -> None:
    office = Office(world)
    await office.furnish()
    read = world.gateway.db.read
    assert await read(rows) == []
    secrets = [world.key]
    for number, (name, act) in enumerate(WRITES.items(), 1):
        made = await act(office)
        secrets += [one for one in (getattr(made, "key", None), getattr(made, "secret", None)) if one]
        found = await read(rows)
        assert len(found) == number, f"{name} left {len(found) - number + 1} rows"
        row = found[-1]
        assert (row["actor_kind"], row["actor_name"], row["reason"]) == ("command", "olga", REASON), name
        assert row["at_ms"] == world.clock.now_ms()
        # A tenant's own change names the tenant; that of all keys of a mode is nobody's.
        of_all = {"dispatch.pause", "dispatch.resume", "webhook_endpoints.reseal"}
        of_nobody = name in of_all or name.startswith("admin_keys.")
        assert (row["tenant_id"] is None) == of_nobody, name
        assert row["before"] != row["after"], name
    kept = json.dumps(await read(rows))
    assert len(secrets) == 7
    assert not [one for one in secrets if one in kept or one.rpartition("_")[2] in kept]


async def test_a_row_has_what_was_before_and_what_is_after(world: World) -> None:
    gateway = world.gateway
    made = await tenants.create(gateway, ACTOR, "acme")
    await tenants.set_time_zone(gateway, ACTOR, "acme", "Europe/Berlin")
    await tenants.disable(gateway, ACTOR, "acme", reason="  unpaid ")
    name = AccountName(tenant="acme", end_user="u1", test=True)
    await limits.set_limits(gateway, ACTOR, name, ["in-flight=5"])
    await limits.set_limits(gateway, ACTOR, name, ["in-flight=none"])
    await limits.unset_limits(gateway, ACTOR, name, ["in-flight"])
    now_ms = world.clock.now_ms()
    shown = ("action", "subject_kind", "subject_id", "before", "after", "reason")
    label = "test end_user=u1"
    assert [tuple(row[one] for one in shown) for row in await gateway.db.read(rows)] == [
        ("tenant.create", "tenant", made.id, None, {"name": "acme", "time_zone": "UTC"}, None),
        (
            "tenant.set_time_zone",
            "tenant",
            made.id,
            {"time_zone": "UTC"},
            {"time_zone": "Europe/Berlin"},
            None,
        ),
        (
            "tenant.disable",
            "tenant",
            made.id,
            {"disabled_at_ms": None},
            {"disabled_at_ms": now_ms},
            "unpaid",
        ),
        ("limits.set", "account", label, {}, {"in-flight": {"amount": 5, "burst": None}}, None),
        (
            "limits.set",
            "account",
            label,
            {"in-flight": {"amount": 5, "burst": None}},
            {"in-flight": {"amount": None, "burst": None}},
            None,
        ),
        ("limits.unset", "account", label, {"in-flight": {"amount": None, "burst": None}}, {}, None),
    ]


async def test_what_changes_nothing_leaves_a_row_that_says_so(world: World) -> None:
    gateway = world.gateway
    await tenants.create(gateway, ACTOR, "acme")
    first = await tenants.disable(gateway, ACTOR, "acme")
    world.clock.advance(60)
    assert await tenants.disable(gateway, ACTOR, "acme") == first  # of the first time
    name = AccountName(tenant="acme")
    for is_new in (True, False):
        entered = await ledger.top_up(gateway, ACTOR, name, "5", reference="INVOICE-1")
        assert entered.is_new == is_new
    found = await gateway.db.read(rows)
    assert [row["before"] == row["after"] for row in found] == [False, False, True, False, True]


async def test_what_is_refused_changes_nothing_and_leaves_no_row(world: World) -> None:
    gateway = world.gateway
    await tenants.create(gateway, ACTOR, "acme")
    name = AccountName(tenant="acme")
    await limits.set_limits(gateway, ACTOR, name, ["in-flight=5"])
    before = await gateway.db.read(rows)
    attempts = {
        LIMIT_NOT_FOUND: limits.unset_limits(gateway, ACTOR, name, ["in-flight", "credits-day"]),
        TENANT_NOT_FOUND: tenants.disable(gateway, ACTOR, "nobody"),
        INVALID_REASON: tenants.disable(gateway, ACTOR, "acme", reason="x" * 201),
    }
    for fault, attempt in attempts.items():
        with pytest.raises(Problem) as refused:
            await attempt
        assert refused.value.fault is fault
    with pytest.raises(Problem, match="invalid_reason"):
        await tenants.disable(gateway, ACTOR, "acme", reason="two\nlines")
    assert await gateway.db.read(rows) == before
    found = await gateway.db.read(by_name, "acme")
    assert found.disabled_at_ms is None
    assert len(await gateway.db.read(account.limits_of, found.id)) == 1


async def test_without_its_row_there_is_no_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = world.gateway
    await tenants.create(gateway, ACTOR, "acme")
    before = (await gateway.db.read(list_all), await gateway.db.read(rows))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no row")

    monkeypatch.setattr(audit, "_append", fail)
    for attempt in (
        tenants.disable(gateway, ACTOR, "acme"),
        tenants.create(gateway, ACTOR, "other"),
        tenants.set_queueing(gateway, ACTOR, "acme", queueing=True, max_queued=1),
    ):
        with pytest.raises(RuntimeError, match="no row"):
            await attempt
    assert (await gateway.db.read(list_all), await gateway.db.read(rows)) == before


async def test_the_database_refuses_to_change_or_remove_a_row(db: Database) -> None:
    def append(connection: Connection) -> None:
        tenant_id, _ = add_owner(connection)
        change = Change(
            action="tenant.create",
            subject_kind="tenant",
            subject_id=tenant_id,
            tenant_id=tenant_id,
            before=None,
            after={},
        )
        head = audit.lock_head(connection)
        audit._append(connection, head, ACTOR, change, reason=None, at_ms=1, trace_id=None)

    await db.write(append)
    before = await db.read(rows)
    statements = [
        "UPDATE audit_entries SET text = 'x'",
        "UPDATE audit_entries SET actor_name = 'x' WHERE seq = 1",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_entries WHERE seq = 1",
    ]
    if db.dialect == "postgresql":
        statements += ["TRUNCATE audit_entries", "TRUNCATE tenants CASCADE"]
    for statement in statements:
        with pytest.raises(DBAPIError, match="append-only"):
            await db.write(_execute, statement)
    assert await db.read(rows) == before


def _execute(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))
