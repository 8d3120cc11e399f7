"""A change over the admin API is made once for its Idempotency-Key, and of what its caller has read."""

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from app.admin import audit
from app.admin.accounts import AccountName
from app.admin.operations import files
from app.admin.operations.access import admin_keys, client_tokens, keys, tenants
from app.admin.operations.amounts import limits, overrides
from app.db.schema.tables import admin_calls, audit_entries
from app.kit.clock import iso
from tests.admin.counter import Counter
from tests.contract.published import problem_of
from tests.harness import MAX_POLLS, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True}


@pytest.fixture
def counter(world: World) -> Counter:
    return Counter(world)


def _changes(connection: Connection) -> list[tuple[str, str]]:
    rows = select(audit_entries.c.action, audit_entries.c.actor_kind).order_by(audit_entries.c.seq)
    return [(action, kind) for action, kind in connection.execute(rows) if action != "admin_key.create"]


def _answers(connection: Connection) -> list[str]:
    return list(connection.scalars(select(admin_calls.c.answer)))


async def test_sixteen_calls_with_one_key_make_one_change_with_one_row(counter: Counter) -> None:
    key, once = await counter.key("operate"), str(uuid.uuid4())
    answers = await asyncio.gather(
        *(counter.call(tenants.CREATE, key=key, idempotency_key=once, name="acme") for _ in range(16))
    )
    assert {one.status_code for one in answers} == {201}
    assert len({one.content for one in answers}) == 1
    replayed = [one for one in answers if one.headers.get("idempotent-replayed") == "true"]
    assert len(replayed) == 15
    assert await counter.world.gateway.db.read(_changes) == [("tenant.create", "admin_key")]


async def test_what_is_done_in_steps_is_answered_and_then_recorded(counter: Counter) -> None:
    """Erasing writes many times; a call with the same key is answered with what the first one did."""
    await counter.done(tenants.CREATE, name="acme")
    terms = {"name": "acme", "end_user": "ann", "idempotency_key": "once"}
    key = await counter.key("root")
    first, again = [await counter.call(files.ERASE, key=key, **terms) for _ in range(2)]
    assert (first.status_code, first.json()["requests"]) == (200, 0), first.text
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    changes = await counter.world.gateway.db.read(_changes)
    assert [action for action, _ in changes] == ["tenant.create", "tenant.erase"]
    other = {**terms, "end_user": "bob"}
    problem_of(await counter.call(files.ERASE, key=key, **other), 422, "idempotency_mismatch")


async def test_what_was_done_in_steps_is_told_though_its_key_was_used_for_something_else_meanwhile(
    counter: Counter,
) -> None:
    await counter.done(tenants.CREATE, name="acme")
    key = await counter.key("root")
    terms = {"name": "acme", "idempotency_key": "once", "key": key}
    answers = await asyncio.gather(
        *(counter.call(files.ERASE, end_user=end_user, **terms) for end_user in ("ann", "bob"))
    )
    changes = await counter.world.gateway.db.read(_changes)
    erased = [action for action, _ in changes].count("tenant.erase")
    assert [one.status_code for one in answers].count(200) == erased
    for end_user, answer in zip(("ann", "bob"), answers, strict=True):
        if answer.status_code == 200:
            assert answer.json()["end_user"] == end_user


async def test_the_record_of_a_call_is_removed_when_its_retention_is_over(counter: Counter) -> None:
    gateway, clock = counter.world.gateway, counter.world.clock
    key = await counter.key("operate")
    for name in ("acme", "beta"):
        await counter.done(tenants.CREATE, key=key, idempotency_key=name, name=name)
        clock.advance(20 * 86_400)
    assert await gateway.upkeep.admin_calls.run_once() == 1
    again = await counter.call(tenants.CREATE, key=key, idempotency_key="beta", name="beta")
    assert again.headers["idempotent-replayed"] == "true"
    answer = await counter.call(tenants.CREATE, key=key, idempotency_key="acme", name="acme")
    problem_of(answer, 409, "tenant_exists")  # it is carried out anew


async def test_a_tenant_is_found_by_its_id_whatever_it_is_called(counter: Counter) -> None:
    made = await counter.done(tenants.CREATE, name="acme")
    await counter.done(tenants.RENAME, name="acme", new_name="beta")
    problem_of(await counter.call(tenants.SHOW, name="acme"), 404, "tenant_not_found")
    assert (await counter.done(tenants.SHOW, name=made["id"]))["name"] == "beta"
    changed = await counter.done(tenants.SET_TIME_ZONE, name=made["id"], time_zone="Asia/Tokyo")
    assert (changed["name"], changed["time_zone"]) == ("beta", "Asia/Tokyo")
    await counter.done(tenants.CREATE, name=made["id"])  # a name goes before an id
    assert (await counter.done(tenants.SHOW, name=made["id"]))["time_zone"] == "UTC"


async def test_a_key_belongs_to_one_change_of_one_caller(counter: Counter) -> None:
    key, once = await counter.key("operate"), "one"
    first = await counter.done(tenants.CREATE, key=key, idempotency_key=once, name="acme")
    other = await counter.call(tenants.CREATE, key=key, idempotency_key=once, name="other")
    problem_of(other, 422, "idempotency_mismatch")
    other = await counter.call(tenants.DISABLE, key=key, idempotency_key=once, name="acme")
    problem_of(other, 422, "idempotency_mismatch")
    problem_of(await counter.call(tenants.CREATE, idempotency_key=once, name="acme"), 409, "tenant_exists")
    counter.world.clock.advance(86_400 * 365)
    await counter.done(tenants.DISABLE, key=key, name="acme")
    again = await counter.call(tenants.CREATE, key=key, idempotency_key=once, name="acme")
    assert again.json() == first  # as it was answered, not as it is


async def test_what_was_refused_is_tried_anew(counter: Counter) -> None:
    key = await counter.key("operate")
    refused = await counter.call(tenants.DISABLE, key=key, idempotency_key="one", name="acme")
    problem_of(refused, 404, "tenant_not_found")
    await counter.done(tenants.CREATE, key=key, name="acme")
    disabled = await counter.call(tenants.DISABLE, key=key, idempotency_key="one", name="acme")
    assert disabled.status_code == 200
    assert "idempotent-replayed" not in disabled.headers


async def test_an_edit_is_of_what_was_read(counter: Counter) -> None:
    await counter.done(tenants.CREATE, name="acme")
    read = await counter.call(tenants.SHOW, name="acme")
    tag = read.headers["etag"]
    arguments: dict[str, Any] = {"name": "acme", "time_zone": "Europe/Berlin"}
    problem_of(
        await counter.call(tenants.SET_TIME_ZONE, if_match=None, **arguments), 428, "precondition_required"
    )
    for wrong in ('"other"', f"W/{tag}", ""):
        answer = await counter.call(tenants.SET_TIME_ZONE, if_match=wrong, **arguments)
        problem_of(answer, 412, "precondition_failed")
        assert answer.headers["etag"] == tag
    once = str(uuid.uuid4())
    edited = await counter.call(
        tenants.SET_TIME_ZONE, if_match=f'"other", {tag}', idempotency_key=once, **arguments
    )
    assert edited.status_code == 200
    assert edited.headers["etag"] != tag
    # A repetition is answered, though what it was of is no longer there.
    again = await counter.call(tenants.SET_TIME_ZONE, if_match=tag, idempotency_key=once, **arguments)
    assert (again.status_code, again.content) == (200, edited.content)
    problem_of(
        await counter.call(tenants.SET_TIME_ZONE, if_match=tag, **arguments), 412, "precondition_failed"
    )
    shown = await counter.call(tenants.SHOW, name="acme")
    assert shown.headers["etag"] == edited.headers["etag"]
    known = {"If-None-Match": shown.headers["etag"], "Authorization": f"Bearer {counter.keys['root']}"}
    assert (await counter.world.client.get("/admin/v1/tenants/acme", headers=known)).status_code == 304


async def test_of_two_edits_of_one_version_one_is_made(counter: Counter) -> None:
    await counter.done(tenants.CREATE, name="acme")
    tag = (await counter.call(tenants.SHOW, name="acme")).headers["etag"]
    key = await counter.key("operate")
    zones = ("Europe/Berlin", "Europe/Paris", "Asia/Tokyo", "Africa/Cairo")
    answers = await asyncio.gather(
        *(
            counter.call(tenants.SET_TIME_ZONE, key=key, if_match=tag, name="acme", time_zone=one)
            for one in zones
        )
    )
    assert sorted(one.status_code for one in answers) == [200, 412, 412, 412]
    (made,) = (one.json()["time_zone"] for one in answers if one.status_code == 200)
    assert (await counter.done(tenants.SHOW, name="acme"))["time_zone"] == made


async def test_a_new_key_is_shown_once_and_stored_nowhere(counter: Counter) -> None:
    await counter.done(tenants.CREATE, name="acme")
    caller = await counter.key("root")
    secrets = []
    for operation, arguments in (
        (keys.CREATE, {"tenant": "acme", "mode": "test"}),
        (admin_keys.CREATE, {"name": "olga", "scopes": ["read"]}),
    ):
        made = await counter.done(operation, key=caller, idempotency_key=operation.name, **arguments)
        again = await counter.call(operation, key=caller, idempotency_key=operation.name, **arguments)
        assert again.json() == made | {"key": None}
        rotating = keys.ROTATE if operation is keys.CREATE else admin_keys.ROTATE
        rotated = await counter.done(
            rotating, key=caller, idempotency_key=rotating.name, kid=made["kid"], overlap_ms=1000
        )
        secrets += [made["key"], rotated["key"]]
    stored = str(await counter.world.gateway.db.read(_answers))
    assert not [one for one in secrets if one.rpartition("_")[2] in stored]
    assert len(await counter.world.gateway.db.read(_answers)) == 5


async def test_a_key_can_only_be_narrowed(counter: Counter) -> None:
    kid = (await counter.world.another_key(scopes=["submit", "read"])).split("_")[2]
    models = list(counter.world.gateway.catalog.models)[:2]
    narrowed = await counter.done(keys.NARROW, kid=kid, models=models, lifetime_ms=60_000, name="web")
    assert (narrowed["models"], narrowed["name"]) == (sorted(models), "web")
    widened: list[dict[str, Any]] = [
        {"scopes": ["tokens:create"]},
        {"scopes": []},
        {"models": ["another/model"]},
        {"lifetime_ms": 60_001},
    ]
    for wider in widened:
        problem_of(await counter.call(keys.NARROW, kid=kid, **wider), 422, "invalid_api_key_terms")
    narrowed = await counter.done(keys.NARROW, kid=kid, scopes=["read"], models=models[:1])
    assert (narrowed["scopes"], narrowed["models"]) == (["read"], models[:1])


async def test_without_its_record_or_its_audit_row_there_is_no_change(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await counter.key("operate")
    await counter.done(tenants.CREATE, key=key, name="acme")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no row")

    monkeypatch.setattr(audit, "_append", fail)
    answer = await counter.call(tenants.DISABLE, key=key, idempotency_key="one", name="acme")
    assert answer.status_code == 500
    monkeypatch.undo()
    assert (await counter.done(tenants.SHOW, name="acme"))["disabled_at"] is None
    count = select(func.count()).select_from(admin_calls)
    assert await counter.world.gateway.db.read(lambda connection: connection.scalar(count)) == 1


async def test_keys_are_found_by_what_is_known_of_them(counter: Counter) -> None:
    world, clock = counter.world, counter.world.clock
    await counter.done(tenants.CREATE, name="acme")
    made = []
    for number in range(5):
        name = f"Shop 100% {number}"
        made.append(await counter.done(keys.CREATE, tenant="acme", mode="live", name=name))
        clock.advance(1)
    assert (await world.client.get("/v1/models", headers=world.with_key(made[1]["key"]))).status_code == 200
    for _ in range(MAX_POLLS):  # it is recorded in the background
        if (await counter.done(keys.SHOW, kid=made[1]["kid"]))["last_used_at"] is not None:
            break
        await asyncio.sleep(0.002)

    async def found(**searched: Any) -> list[str]:
        page = await counter.done(keys.LIST, tenant="acme", **searched)
        return [one["kid"] for one in page["keys"]]

    kids = [one["kid"] for one in made]
    assert await found() == kids
    assert await found(prefix=made[2]["key"][:12]) == [kids[2]]
    assert await found(prefix=kids[3][:7]) == [kids[3]]
    assert await found(name="shop 100% 4") == [kids[4]]
    assert await found(name="%_4") == []
    assert await found(mode="test") == []
    assert await found(used_before=iso(clock.now_ms())) == [one for one in kids if one != kids[1]]
    assert await found(used_after=iso(clock.now_ms())) == [kids[1]]
    first = await counter.done(keys.LIST, tenant="acme", limit=2)
    second = await counter.done(keys.LIST, tenant="acme", limit=3, cursor=first["next_cursor"])
    assert [one["kid"] for one in (*first["keys"], *second["keys"])] == kids
    assert second["next_cursor"] is None
    problem_of(await counter.call(keys.LIST, cursor="nobodyskid00"), 400, "invalid_parameter")
    problem_of(await counter.call(tenants.LIST, cursor="x"), 400, "invalid_parameter")


async def test_limits_are_set_shown_and_removed_for_what_was_read(counter: Counter) -> None:
    await counter.done(tenants.CREATE, name="acme")
    made = await counter.done(keys.CREATE, tenant="acme", mode="live")
    of_key = AccountName(tenant="acme", kid=made["kid"])
    tag = (await counter.call(limits.SHOW, name=of_key)).headers["etag"]
    wanted = ["credits-day=12.5", "in-flight=none"]
    done = await counter.call(limits.SET, if_match=tag, name=of_key, limits=wanted)
    assert done.json()["limits"] == [
        {"metric": "credits-day", "amount": 12_500_000, "burst": None},
        {"metric": "in-flight", "amount": None, "burst": None},
    ]
    assert [one["policy"] for one in done.json()["standings"]] == ["key-credits-day"]
    late = await counter.call(limits.SET, if_match=tag, name=of_key, limits=["in-flight=1"])
    problem_of(late, 412, "precondition_failed")
    wrong = await counter.call(limits.SET, name=of_key, limits=["in-flight=1", "nonsense"])
    assert problem_of(wrong, 422, "invalid_limit")["errors"][0]["pointer"] == "#/limits/1"
    await counter.done(limits.SET, name=AccountName(tenant="acme"), limits=["submits-minute=60/10"])
    first = await counter.done(limits.LIST, tenant="acme", limit=1)
    second = await counter.done(limits.LIST, tenant="acme", cursor=first["next_cursor"])
    found = [(one["kid"], one["metric"]) for one in (*first["limits"], *second["limits"])]
    assert found == [(None, "submits-minute"), (made["kid"], "credits-day"), (made["kid"], "in-flight")]
    for cursor in ("x", "W10", first["next_cursor"][:-2]):
        problem_of(await counter.call(limits.LIST, cursor=cursor), 400, "invalid_parameter")
    removed = await counter.done(limits.UNSET, name=of_key, metrics=["credits-day"])
    assert [one["metric"] for one in removed["limits"]] == ["in-flight"]
    missing = await counter.call(limits.UNSET, name=of_key, metrics=["credits-day"])
    problem_of(missing, 404, "limit_not_found")


async def test_client_tokens_are_listed_in_pages_and_revoked(counter: Counter) -> None:
    world = counter.world
    minted = []
    for _ in range(3):
        minted.append((await world.client.post("/v1/client-tokens", json={})).json()["token_id"])
        world.clock.advance(1)
    found = (await counter.done(tenants.LIST))["tenants"]
    first = await counter.done(client_tokens.LIST, tenant=found[0]["name"], limit=2)
    second = await counter.done(client_tokens.LIST, tenant=found[0]["name"], cursor=first["next_cursor"])
    listed = [one["token_id"] for one in (*first["client_tokens"], *second["client_tokens"])]
    assert listed == minted[::-1]
    assert (await counter.done(client_tokens.REVOKE, token_id=minted[0]))["state"] == "revoked"
    assert (await counter.done(client_tokens.SHOW, token_id=minted[0]))["newest_requests"] == []


async def test_a_limit_is_overridden_until_a_moment(counter: Counter) -> None:
    await counter.done(tenants.CREATE, name="acme")
    acme = AccountName(tenant="acme", test=True)
    until = "2026-09-21T16:00:00+01:00"
    for wrong in ("2026-09-21T16:00:00", "tomorrow", 1790000000):
        answer = await counter.call(overrides.CREATE, name=acme, override="in-flight=9", until=wrong)
        assert problem_of(answer, 422, "invalid_change")["errors"][0]["pointer"] == "#/until"
    made = await counter.done(overrides.CREATE, name=acme, override="in-flight=9", until=until)
    assert (made["until"], made["state"], made["amount"]) == ("2026-09-21T15:00:00.000Z", "lasts", 9)
    again = await counter.call(overrides.CREATE, name=acme, override="in-flight=8", until=until)
    problem_of(again, 409, "override_exists")
    shown = await counter.done(limits.SHOW, name=acme)
    (in_flight,) = [one for one in shown["standings"] if one["metric"] == "in-flight"]
    assert (in_flight["limit"], in_flight["override_until"]) == (9, made["until"])
    ended = await counter.done(overrides.END, override_id=made["override_id"])
    assert ended["state"] == "ended"
    assert (await counter.done(overrides.LIST))["overrides"] == []
    assert (await counter.done(overrides.LIST, tenant="acme", ended=True))["overrides"] == [ended]
    last = "9999-12-31T23:59:59-12:00"  # the year 10000 in UTC, which has no text
    for_ever = await counter.done(overrides.CREATE, name=acme, override="in-flight=9", until=last)
    assert for_ever["until"].startswith("9999-12-31T23:59:59")
