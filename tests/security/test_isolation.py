"""No tenant sees, moves or learns of another's things, by any operation of the published contract.

The operations are read from `/openapi.json`, so that a new one is swept as well, or fails here.
"""

import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest

from app.api.routes import ROUTES
from app.kit.ids import new_id
from tests.contract.published import OURS, keep_promises, problem_of
from tests.harness import SUBMIT, World, until
from tests.quotas.accounts import limited
from tests.sandbox.harness import DREAMINA, TOKEN, Running
from tests.streams import Stream, begin, finish, streaming

pytestmark = pytest.mark.anyio

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
STREAM = "text/event-stream"
OF_WEBHOOKS = [one for one in ROUTES if one.tag == "webhooks"]
WITHOUT_OWNER = {
    "get_model": "the catalogue, narrowed by a key's own list",
    "submit": "as above",
    "quote": "as above",
    "get_problem": "what errors mean",
    "get_llms_txt_of_model": "the catalogue, as the contract tells it to everybody",
    "get_statement": "its id is a month: another tenant's are never looked up",
    **dict.fromkeys(
        ("get_asset", "get_asset_facts", "delete_asset", "create_asset_link", "get_linked_asset"),
        "swept in tests/mirror/test_life.py and test_serving.py",
    ),
    "get_client_token": "swept in tests/client_tokens/test_client_tokens.py: they have ids of their own kind",
    "revoke_client_token": "as above",
    **dict.fromkeys(
        (
            *("get_file", "get_file_facts", "delete_file", "create_file_link", "get_linked_file"),
            "complete_direct_upload",
        ),
        "swept in tests/files/test_uploads.py and test_serving.py",
    ),
    **dict.fromkeys(("narrow_key", "rotate_key", "revoke_key"), "swept in tests/sessions/test_account.py"),
} | {one.operation_id: "swept in tests/webhooks/test_whose.py" for one in OF_WEBHOOKS if "{" in one.path}
"""Operations with an id in their path that is nobody's in particular, or no request's."""
TENANT_WIDE = {
    "list_models": "test_the_catalogue_tells_nothing_of_who_uses_it",
    "list_model_categories": "test_the_catalogue_tells_nothing_of_who_uses_it",
    "list_requests": "test_a_listing_has_the_tenants_own_of_this_kind_of_key",
    "get_quota": "test_quota_and_quotes_are_the_tenants_own",
    "list_refusals": "test_refusals_are_the_tenants_own",
    "stream_events": "test_a_stream_has_the_tenants_own_events_of_this_kind_of_key",
    "stream_events_of_requests": "test_a_stream_of_many_requests_is_refused_whose_ever_one_of_them_is",
    **dict.fromkeys(
        ("create_client_token", "list_client_tokens"), "tests/client_tokens/test_client_tokens.py"
    ),
    **dict.fromkeys(("upload_file", "begin_direct_upload", "list_files"), "tests/files/test_uploads.py"),
    **dict.fromkeys(
        ("list_keys", "create_key", "get_origins", "set_origins", "create_portal_link"),
        "tests/sessions/test_account.py",
    ),
    **dict.fromkeys(
        ("get_usage", "list_ledger", "list_statements"), "tests/security/test_money_isolation.py"
    ),
} | {one.operation_id: "tests/webhooks/test_whose.py" for one in OF_WEBHOOKS if "{" not in one.path}
"""Operations of a key without an id in their path; each with the test here, or the file, that sweeps it."""
CURIOUS = {"Prefer": "wait=5, handling=strict", "If-None-Match": "*", "Last-Event-ID": "1"}
CURIOUS_QUERY = {"wait": "5", "include_cost": "true", "after": "0"}
_INSTANCE = re.compile(rb'"instance":"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the contract. `path` holds its parameters in braces."""

    id: str
    method: str
    path: str
    needs_key: bool
    streams: bool
    query: str
    """A value of each of its query parameters that could make it say more."""

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)


def operations_in(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(
            one["operationId"],
            method.upper(),
            path,
            bool(one.get("security", document.get("security"))),
            STREAM in one["responses"].get("200", {}).get("content", {}),
            "&".join(
                f"{name}={value}"
                for name, value in CURIOUS_QUERY.items()
                if name in {each["name"] for each in one.get("parameters", ()) if each["in"] == "query"}
            ),
        )
        for path, operations in document["paths"].items()
        for method, one in operations.items()
        if method in METHODS
    ]


@dataclass(frozen=True, slots=True)
class Party:
    """A tenant with a key of either kind, and a queued request made by each."""

    name: str
    keys: dict[str, str]
    ids: dict[str, str]


@pytest.fixture
def world_settings(sandbox: Running) -> dict[str, Any]:
    """Live keys have an upstream too."""
    return {"upstream_base_url": sandbox.options.public_url, "upstream_token": TOKEN}


@pytest.fixture
async def parties(world: World) -> AsyncIterator[tuple[Party, Party]]:
    """Two tenants, and at the end what was theirs is as it was."""
    made = []
    for _ in range(2):
        name = f"tenant-{uuid.uuid4().hex[:8]}"
        test = await world.another_key(tenant=name)
        owner, world.tenant_id = world.tenant_id, await _tenant_of(world, test)
        live = await world.another_key(mode="live")
        world.tenant_id = owner
        keys = {"test": test, "live": live}
        ids = {mode: await _submitted(world, key) for mode, key in keys.items()}
        made.append(Party(name, keys, ids))
    mine, theirs = made
    yield mine, theirs
    for party in made:
        for mode, key in party.keys.items():
            world.clock.advance(2)
            path = f"/v1/requests/{party.ids[mode]}/status"
            status = (await world.client.get(path, headers=world.with_key(key))).json()
            assert status["status"] == "in_queue"


async def _tenant_of(world: World, key: str) -> str:
    return (await world.gateway.access.authenticator.authenticate(key)).tenant_id


async def _submitted(world: World, key: str) -> str:
    answer = await world.client.post(SUBMIT, json=world.body("queued"), headers=world.with_key(key))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["request_id"])


async def operations(world: World) -> list[Operation]:
    return operations_in((await world.client.get("/openapi.json")).json())


async def called(
    world: World, operation: Operation, path: str, key: str, headers: dict[str, str] | None = None
) -> httpx2.Response:
    """The whole answer, of a stream's operation as well, should it be one that ends."""
    headers = world.with_key(key) | (headers or {})
    if not operation.streams:
        body: dict[str, Any] | None = {} if operation.method in {"POST", "PUT", "PATCH"} else None
        return await world.client.request(operation.method, path, json=body, headers=headers)
    assert operation.method == "GET"
    address, _, query = path.partition("?")
    stream = begin(world, f"{unquote(address)}?{query}", **headers)
    await until(lambda: stream.status or stream.over)
    await finish(stream)
    assert stream.error is None
    request = httpx2.Request("GET", f"{OURS}{path}")
    return httpx2.Response(stream.status, headers=stream.headers, content=stream.body, request=request)


def bared(answer: httpx2.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and bytes without what is this one call's: its trace id, and its address."""
    keep_promises(answer)
    trace_id = answer.headers["reelgate-trace-id"]
    content, count = _INSTANCE.subn(b'"instance":""', answer.content.replace(trace_id.encode(), b""))
    assert count == 1
    assert int(answer.headers["content-length"]) == len(answer.content)
    headers = [
        (name, value.replace(trace_id, ""))
        for name, value in answer.headers.multi_items()
        if name != "content-length"
    ]
    return answer.status_code, sorted(headers), content


def malformed(an_id: str) -> tuple[str, ...]:
    """What is no id, as it stands in an address."""
    return (
        an_id.upper(),
        an_id.replace("-", ""),
        an_id[:-1],
        f"{an_id}0",
        f"%20{an_id}",
        f"{an_id}%00",
        f"%7B{an_id}%7D",
        f"urn:uuid:{an_id}",
        f"{an_id[:-1]}%EF%BC%91",  # a digit, of full width
        "x" * 5000,
        "0",
        "null",
        "%00",
        "%2e%2e",
        "%2e%2e%5c%2e%2e",
        "%FF",
        "%F0%9F%9A%A4",
        "%25",
        "*",
        "'%20OR%20'1'='1",
    )


# --- what is in an address


async def test_every_operation_is_swept_or_said_to_have_no_owner(world: World) -> None:
    found = await operations(world)
    with_ids = {one.id for one in found if one.parameters and one.parameters != ["request_id"]}
    assert with_ids == set(WITHOUT_OWNER)
    wide = {one.id for one in found if one.needs_key and not one.parameters}
    own = ("submit_", "get_bytedance_")  # a model's own addresses hold nothing of a tenant's
    assert {one for one in wide if not one.startswith(own)} == set(TENANT_WIDE)
    assert len([one for one in found if one.parameters == ["request_id"]]) >= 5
    open_to_all = {"get_problem", "get_llms_txt_of_model", "get_linked_file", "get_linked_asset"}
    assert not [one.id for one in found if one.parameters and not one.needs_key and one.id not in open_to_all]


def test_every_test_that_an_operation_of_a_tenant_is_said_to_have_exists() -> None:
    root = Path(__file__).parents[2]
    shown = set(TENANT_WIDE.values())
    assert [one for one in shown if "/" in one and not (root / one).exists()] == []
    assert [one for one in shown if "/" not in one and one not in globals()] == []


async def test_anothers_the_other_kinds_and_what_never_was_are_the_same_404(
    world: World, parties: tuple[Party, Party]
) -> None:
    mine, theirs = parties
    swept = [one for one in await operations(world) if one.parameters == ["request_id"]]
    other = {"test": "live", "live": "test"}
    calls = world.sandbox.ledger()["calls"]
    for operation in swept:
        answers = set()
        for mode, key in mine.keys.items():
            not_mine = (
                theirs.ids[mode],
                theirs.ids[other[mode]],
                mine.ids[other[mode]],
                new_id(world.clock.now_ms()),
                *malformed(mine.ids[mode]),
            )
            for text in not_mine:
                path = operation.path.replace("{request_id}", text)
                for query, headers in (("", {}), (f"?{operation.query}", CURIOUS)):
                    answer = await called(world, operation, path + query, key, headers)
                    assert answer.status_code == 404, (operation.id, mode, text, answer.text)
                    problem_of(answer, 404, "request_not_found")
                    code, names, content = bared(answer)
                    answers.add((code, tuple(names), content))
        assert len(answers) == 1, (operation.id, answers)
    assert world.sandbox.ledger()["calls"] == calls, "the upstream heard of it"


async def test_the_same_calls_of_the_owner_find_it(world: World, parties: tuple[Party, Party]) -> None:
    """Else the sweep would prove nothing."""
    mine, _ = parties
    for mode, key in mine.keys.items():
        found = await operations(world)
        for operation in (one for one in found if one.parameters == ["request_id"] and one.id != "cancel"):
            path = operation.path.replace("{request_id}", mine.ids[mode])
            answer = await called(world, operation, path, key)
            assert answer.status_code == 200, (operation.id, answer.text)
        own = await _submitted(world, key)
        answer = await world.client.post(f"/v1/requests/{own}/cancel", headers=world.with_key(key))
        assert answer.json()["outcome"] == "cancelled"


async def test_a_model_outside_a_keys_list_is_as_missing_as_one_that_is_not(world: World) -> None:
    key = await world.another_key(models=["wan-ai/wan-2.7/edit"])
    listed = (await world.client.get("/v1/models", headers=world.with_key(key))).json()
    assert (listed["models"], listed["total"]) == ([], 0)
    said = set()
    for model_id in (DREAMINA, DREAMINA.replace("3-0", "9-9")):
        answer = await world.client.get(f"/v1/models/{model_id}", headers=world.with_key(key))
        problem_of(answer, 404, "model_not_found")
        said.add(bared(answer)[2].replace(model_id.encode(), b""))
    assert len(said) == 1
    for path in (SUBMIT, f"/v1/quotes/{DREAMINA}"):
        answer = await world.client.post(path, json=world.body(), headers=world.with_key(key))
        problem_of(answer, 403, "model_not_allowed")
    assert world.received() == []


# --- what is in a header


async def test_an_idempotency_key_is_the_tenants_own(world: World, parties: tuple[Party, Party]) -> None:
    body = world.body("queued")
    ids = []
    for party in parties:
        headers = world.with_key(party.keys["test"]) | {"Idempotency-Key": "the same"}
        answer = await world.client.post(SUBMIT, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert "idempotent-replayed" not in answer.headers
        ids.append(answer.json()["request_id"])
    assert len(set(ids)) == 2


async def test_an_idempotency_key_of_the_other_kind_of_key_makes_and_replays_nothing(
    world: World, parties: tuple[Party, Party]
) -> None:
    """It is one name for the tenant: documented, and a mismatch. More in tests/submit/test_idempotency.py."""
    mine, _ = parties
    body = world.body("queued")
    answers = []
    for mode, status in (("live", 200), ("test", 422)):
        headers = world.with_key(mine.keys[mode]) | {"Idempotency-Key": "the same"}
        answers.append(await world.client.post(SUBMIT, json=body, headers=headers))
        assert answers[-1].status_code == status, answers[-1].text
    made, refused = answers
    assert refused.json()["code"] == "idempotency_mismatch"
    assert made.json()["request_id"] not in refused.text
    assert len(world.received()) == 1


# --- what is the tenant's as a whole


async def _listed(world: World, key: str, query: str = "") -> list[str]:
    """The ids of all pages, one a page."""
    ids: list[str] = []
    cursor = ""
    while True:
        path = f"/v1/requests?limit=1{query}{cursor}"
        page = (await world.client.get(path, headers=world.with_key(key))).json()
        ids += [one["request_id"] for one in page["requests"]]
        if page["next_cursor"] is None:
            return ids
        cursor = f"&cursor={page['next_cursor']}"


async def test_a_listing_has_the_tenants_own_of_this_kind_of_key(
    world: World, parties: tuple[Party, Party]
) -> None:
    cursors = {}
    own: dict[str, list[str]] = {}
    for party in parties:
        for mode, key in party.keys.items():
            own[key] = [party.ids[mode], await _submitted(world, key)]
            answer = await world.client.get("/v1/requests?limit=1", headers=world.with_key(key))
            cursors[key] = answer.json()["next_cursor"]
    for key, ids in own.items():
        for query in ("", "&state=in_queue", f"&model_id={DREAMINA}"):
            assert sorted(await _listed(world, key, query)) == sorted(ids)
        for other, cursor in cursors.items():
            path = f"/v1/requests?limit=100&cursor={cursor}"
            answer = await world.client.get(path, headers=world.with_key(key))
            shown = {one["request_id"] for one in answer.json()["requests"]}
            assert shown <= set(ids), f"a cursor of {'its own' if other == key else 'another'}"


async def _tells_of(stream: Stream, request_id: str) -> None:
    """Wait until it told of both: that it is sent, and that it is queued."""
    await until(lambda: sum(request_id in str(one.data) for one in stream.events) >= 2)


async def test_a_stream_has_the_tenants_own_events_of_this_kind_of_key(
    world: World, parties: tuple[Party, Party]
) -> None:
    for party in parties:
        for mode, key in party.keys.items():
            async with streaming(world, "/v1/events?after=0", **world.with_key(key)) as stream:
                await stream.has(2)
                # Others' news while it is open, and then its own: what comes in between would show.
                for someone in parties:
                    for one in someone.keys.values():
                        if one != key:
                            await _submitted(world, one)
                own = await _submitted(world, key)
                await _tells_of(stream, own)
                assert [one.id for one in stream.events] == list(range(1, len(stream.events) + 1))
                whose = {one.data["request_id"] for one in stream.events if one.data is not None}
            listed = await _listed(world, key)
            assert whose <= set(listed)
            assert {own, party.ids[mode]} <= whose
            for other in parties:
                assert not whose & {id_ for id_ in other.ids.values() if id_ != party.ids[mode]}


async def test_a_stream_of_many_requests_is_refused_whose_ever_one_of_them_is(
    world: World, parties: tuple[Party, Party]
) -> None:
    for mine, theirs in (parties, parties[::-1]):
        for mode, other in (("test", "live"), ("live", "test")):
            key = world.with_key(mine.keys[mode])
            for foreign in (theirs.ids[mode], mine.ids[other]):
                path = f"/v1/requests/events?ids={mine.ids[mode]},{foreign}"
                problem_of(await world.client.get(path, headers=key), 404, "request_not_found")


async def test_quota_and_quotes_are_the_tenants_own(world: World, parties: tuple[Party, Party]) -> None:
    mine, theirs = parties
    owner, world.tenant_id = world.tenant_id, await _tenant_of(world, theirs.keys["test"])
    await limited(world, "generations-total=1")
    world.tenant_id = owner
    held = {"theirs": 1, "mine": 1}
    for name, party in (("theirs", theirs), ("mine", mine)):
        for mode, key in party.keys.items():
            document = (await world.client.get("/v1/quota", headers=world.with_key(key))).json()
            assert (document["tenant"], document["mode"]) == (party.name, mode)
            assert document["kid"] == key.split("_")[2]
            totals = [one for one in document["usage"] if one["period"] == "total"]
            assert {one["held_generations"] for one in totals} == {held[name]}
            foreign = [one for one in (mine, theirs) if one is not party]
            assert not [one for other in foreign for one in other.keys.values() if one[8:20] in str(document)]
            used_up = (name, mode) == ("theirs", "test")
            assert ("generations-total" in json.dumps(document["limits"])) is used_up
            answer = await world.client.post(
                f"/v1/quotes/{DREAMINA}", json=world.body(), headers=world.with_key(key)
            )
            assert answer.json()["admissible"] is not used_up
            assert ("generations-total" in json.dumps(answer.json()["limits"])) is used_up


async def test_refusals_are_the_tenants_own(world: World, parties: tuple[Party, Party]) -> None:
    keys = [key for party in parties for key in party.keys.values()]
    for number, key in enumerate(keys):
        for _ in range(number + 1):
            await world.client.get("/v1/requests/none", headers=world.with_key(key))
    await world.gateway.access.refusals.run_once()
    for number, key in enumerate(keys):
        document = (await world.client.get("/v1/refusals", headers=world.with_key(key))).json()
        found = [one for one in document["refusals"] if one["code"] == "request_not_found"]
        assert [(one["kid"], one["count"]) for one in found] == [(key.split("_")[2], number + 1)]
        foreign = keys[number - 1].split("_")[2]
        path = f"/v1/refusals?kid={foreign}"
        assert (await world.client.get(path, headers=world.with_key(key))).json()["refusals"] == []


async def test_the_catalogue_tells_nothing_of_who_uses_it(world: World, parties: tuple[Party, Party]) -> None:
    said = set()
    for party in parties:
        for key in party.keys.values():
            answer = await world.client.get("/v1/models", headers=world.with_key(key))
            keep_promises(answer)
            said.add(answer.content)
    assert len(said) == 1
