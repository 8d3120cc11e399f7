"""Every command that changes something leaves one row in the audit log; every other leaves none."""

import json
import os
import pwd
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer.main
from sqlalchemy import Connection, select

from app.admin import actor
from app.auth.keys import SCOPES
from app.cli.entry import GROUPS, cli
from app.db.engines.engine import Database
from app.db.schema.tables import audit_entries
from app.generations.advance import advance
from app.generations.lifecycle import State
from tests.harness import WEBHOOK_KEY
from tests.processes import Commands, Place, in_database, place_for, started
from tests.rows import add_generation
from tests.sandbox.harness import Running

MODEL, DAYS = "acme/video", ("--from", "2026-01-01", "--to", "2026-01-31")
REASON = "the ticket says so"
READS = {
    *("limits show", "limits overrides"),
    *(
        "tenants show",
        "keys show",
        "admin-keys list",
        "tenants list",
        "keys list",
        "client-tokens list",
        "client-tokens show",
        "requests list",
    ),
    *("requests show", "dispatch status", "limits list", "ledger list", "ledger verify", "ledger reconcile"),
    *(
        "audit list",
        "audit export",
        "audit verify",
        "audit head",
        "refusals list",
        "processes list",
        "config show",
        "config check",
    ),
    *("credentials list", "models list", "files verify"),
    *("usage", "overview", "thresholds list", "statements list", "statements show", "statements verify"),
    *("webhooks list", "webhooks show", "webhooks deliveries", "webhooks delivery", "webhooks replays"),
    *("webhooks show-replay", "webhooks listen"),
}

# Arguments that only the output of another command tells.
LATER: dict[str, tuple[str, str]] = {
    "limits end-override": ("limits overrides", "override_id"),
    "webhooks edit": ("webhooks list", "endpoint_id"),
    "webhooks pause": ("webhooks list", "endpoint_id"),
    "webhooks enable": ("webhooks list", "endpoint_id"),
    "webhooks rotate": ("webhooks list", "endpoint_id"),
    "webhooks revoke-previous": ("webhooks list", "endpoint_id"),
    "webhooks test": ("webhooks list", "endpoint_id"),
    "webhooks resend": ("webhooks deliveries", "delivery_id"),
    "webhooks replay": ("webhooks list", "endpoint_id"),
    "webhooks cancel-replay": ("webhooks replays", "replay_id"),
    "webhooks delete": ("webhooks list", "endpoint_id"),
}
"""The command that lists it, and the member of the first entry."""


def commands() -> dict[str, Any]:
    """Every command of the modules of groups, by its words; one of them is a command by itself."""
    top: Any = typer.main.get_command(cli)
    found: dict[str, Any] = {}
    for name in GROUPS:
        group = top.get_command(None, name)
        children = getattr(group, "commands", None)
        found |= {name: group} if children is None else {f"{name} {one}": children[one] for one in children}
    return found


def rows(url: str) -> list[Any]:
    def look(connection: Connection) -> list[Any]:
        found = connection.execute(select(audit_entries).order_by(audit_entries.c.seq)).mappings()
        return [{**json.loads(row["text"]), **row} for row in found]

    async def read(db: Database) -> list[Any]:
        return await db.read(look)

    found: list[Any] = in_database(url, read)
    return found


def test_every_command_that_changes_something_takes_a_reason() -> None:
    having = {
        name
        for name, command in commands().items()
        if any("--reason" in getattr(one, "opts", ()) for one in command.params)
    }
    assert having == set(commands()) - READS


def test_each_leaves_one_row_with_the_name_of_whoever_ran_it(
    tmp_path: Path, sqlite_url: str, sandbox: Running, reelgate: Commands
) -> None:
    pages = {"WEBHOOK_KEY": WEBHOOK_KEY, "PORTAL": "true"}
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, **pages)
    reelgate.run(place, "tenants", "create", "acme", "--reason", REASON)
    owner = reelgate.run(place, "tenants", "list", "--json").json[0]["id"]
    scopes = ("--scope", "submit", "--scope", "read", "--scope", "tokens:create")
    made = reelgate.run(
        place, "keys", "create", "--tenant", "acme", "--test", "--json", *scopes, "--reason", REASON
    ).json
    kid, spare = made["kid"], reelgate.run(place, "keys", "create", "--tenant", "acme", "--json").json["kid"]
    with started(place):
        token_id = _minted(place, made["key"])

    def lose_one(connection: Connection) -> str:
        now_ms = time.time_ns() // 1_000_000
        lost = add_generation(connection, owner=(owner, kid), now_ms=now_ms)
        advance(connection, lost.id, State.UNKNOWN, reason="timed_out", now_ms=now_ms)
        return lost.id

    async def write(db: Database) -> str:
        return await db.write(lose_one)

    unknown = in_database(sqlite_url, write)
    of_acme = ("--tenant", "acme")
    admin_kid = reelgate.run(place, "admin-keys", "create", "olga", "--scope", "root", "--json").json["kid"]
    writes: dict[str, tuple[str, ...]] = {
        "tenants set-time-zone": ("acme", "Europe/Berlin"),
        "tenants set-media-checks": ("acme", "warn"),
        "tenants set-queueing": ("acme", "on", "--weight", "2"),
        "tenants set-mirror": ("acme", "beside", "--keep-days", "7"),
        "tenants set-origins": ("acme", "https://app.example"),
        "tenants rename": ("acme", "acme"),
        "tenants disable": ("acme",),
        "tenants enable": ("acme",),
        "keys rotate": (spare,),
        "keys set-queueing": (kid, "off"),
        "keys set-mirror": (kid, "instead"),
        "keys narrow": (kid, "--name", "web"),
        "keys revoke": (spare,),
        "client-tokens revoke": (token_id,),
        "portal-links create": (kid,),
        "limits set": ("in-flight=5", *of_acme),
        "limits unset": ("in-flight", *of_acme),
        "limits override": ("in-flight=9", *of_acme, "--hours", "1"),
        "limits end-override": (),
        "ledger top-up": ("5", *of_acme),
        "ledger adjust": ("1", *of_acme, "--note", "x"),
        "ledger reprice": ("--model", MODEL, "--version", "1", *DAYS, "--price", "0.1"),
        "statements close": (),
        "requests resolve": (unknown, "--charged"),
        "dispatch pause": (),
        "dispatch resume": ("acme",),
        "admin-keys create": ("olga", "--scope", "operate"),
        "admin-keys rotate": (admin_kid,),
        "admin-keys revoke": (admin_kid,),
        "webhooks create": ("https://hooks.example/", *of_acme, "--test"),
        "webhooks edit": ("--description", "orders"),
        "webhooks pause": (),
        "webhooks enable": (),
        "webhooks rotate": ("--grace-hours", "1"),
        "webhooks revoke-previous": (),
        "webhooks test": (),
        "webhooks resend": (),
        "webhooks replay": ("--since", "2020-01-01"),
        "webhooks cancel-replay": (),
        "webhooks reseal": (),
        "webhooks delete": (),
    }
    assert set(writes) | {"tenants create", "keys create"} == set(commands()) - READS
    count = 4
    for name, arguments in writes.items():
        more = arguments
        if name in LATER:
            command, member = LATER[name]
            more = (reelgate.run(place, *command.split(), "--json").json[0][member], *arguments)
        reelgate.run(place, *name.split(), *more, "--reason", REASON)
        count += 1
        found = rows(sqlite_url)
        assert len(found) == count, name
        assert (found[-1]["actor_kind"], found[-1]["reason"]) == ("command", REASON), name
    assert {row["actor_name"] for row in found} == {pwd.getpwuid(os.geteuid()).pw_name}
    about_one = {"client-tokens show", "requests show", "client-tokens list", "tenants show", "keys show"} | {
        *("limits show", "statements list", "statements show"),
        *("webhooks show", "webhooks delivery", "webhooks show-replay", "webhooks listen"),
    }
    for name in sorted(READS - about_one):
        more = () if name != "ledger reconcile" else _bill(place)
        reelgate.run(place, *name.split(), *more)
    assert reelgate.run(place, "tenants", "show", "acme").json["time_zone"] == "Europe/Berlin"
    assert reelgate.run(place, "keys", "show", kid).json["name"] == "web"
    reelgate.run(place, "limits", "show", *of_acme)
    assert reelgate.run(place, "statements", "list", *of_acme, "--json").json == []
    reelgate.run(place, "statements", "show", "2026-01", *of_acme, expect=1)
    reelgate.run(place, "client-tokens", "list", *of_acme)
    reelgate.run(place, "client-tokens", "show", token_id)
    reelgate.run(place, "requests", "show", unknown)
    reelgate.run(place, "tenants", "disable", "acme", "--reason", "x" * 201, expect=1)
    assert rows(sqlite_url) == found, "what reads, or is refused, leaves none"


def _minted(place: Place, key: str) -> str:

    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{place.url}/v1/client-tokens", json={}, headers=headers, trust_env=False)
    token_id: str = answer.json()["token_id"]
    return token_id


def _bill(place: Place) -> tuple[str, ...]:
    (place.folder / "bill.csv").write_text("request_id,cost\n")
    return (str(place.folder / "bill.csv"), "--from", "2020-01-01", "--to", "2020-01-31")


def test_every_fault_of_a_command_is_named(
    tmp_path: Path, sqlite_url: str, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    wrong = ("--scope", "everything", "--model", "no/such", "--model", "nor/this", "--name", "x" * 101)
    refused = reelgate.run(place, "keys", "create", "--tenant", "acme", *wrong, expect=1)
    assert refused.err.splitlines() == [
        "reelgate: a key's name is at most 100 printable characters.",
        f"reelgate: there is no scope 'everything'; there are {', '.join(SCOPES)}.",
        "reelgate: the catalogue has no model 'no/such'.",
        "reelgate: the catalogue has no model 'nor/this'.",
    ]
    refused = reelgate.run(place, "limits", "set", "speed=1", "in-flight=x", "--tenant", "acme", expect=1)
    assert len(refused.err.splitlines()) == 2


def test_a_user_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that was started with a number."""

    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert actor.of_command() == actor.Actor("command", f"uid {os.geteuid()}")
