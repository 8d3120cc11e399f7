"""POST /v1/models/{model_id}: what is accepted, from whom and where; bodies have their own files."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool

from app.db.engines.engine import sync_url
from app.db.schema.tables import generation_events, generations
from app.upstream.client import Upstream
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World
from tests.pictures import data_uri, png
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio


# --- 200


async def test_an_accepted_job_has_a_record_and_urls_of_the_gateway(world: World) -> None:
    answer = await world.submit()
    assert answer.status_code == 200
    document = answer.json()
    request_id = document["request_id"]
    base = f"http://gateway.test/v1/requests/{request_id}"
    assert document == {
        "request_id": request_id,
        "status_url": f"{base}/status",
        "result_url": f"{base}/result",
        "cancel_url": f"{base}/cancel",
    }
    assert len(request_id) == 36  # one of RunComfy's clients insists
    record = await world.record(request_id)
    assert [event["state"] for event in record["events"][:2]] == ["dispatching", "in_queue"]
    assert len(world.received()) == 1


async def test_the_urls_of_an_answer_work_as_they_are(world: World) -> None:
    document = (await world.submit("queued")).json()
    for name, method in (("status_url", "GET"), ("result_url", "GET"), ("cancel_url", "POST")):
        answer = await world.client.request(method, document[name])
        assert answer.is_success, answer.text
        assert answer.json()["request_id"] == document["request_id"]


BODIES: dict[str, dict[str, Any]] = {
    "only what is required": {},
    "every field": {"number_of_frames": 241, "resolution": "1080P", "seed": 7},
    "an integer written as a float": {"seed": 7.0, "number_of_frames": 121.0},
    "an integer beyond 64 bits": {"seed": 2**70},
    "a negative integer": {"seed": -(2**63)},
    "the default said aloud": {"seed": -1, "resolution": "720P", "number_of_frames": 121},
}


async def test_the_upstream_receives_exactly_the_body_that_was_sent(world: World) -> None:
    for name, fields in BODIES.items():
        body = world.body("canned", **fields)
        answer = await world.client.post(SUBMIT, json=body)
        assert answer.status_code == 200, (name, answer.text)
        (submission,) = world.received()
        assert submission["input"] == body, name
        assert submission["model_id"] == DREAMINA
        assert (await world.record(answer.json()["request_id"]))["input"] == body, name


async def test_text_arrives_as_it_was_written(world: World) -> None:
    for text in (
        "ünïcödé 漢字 🚤",
        "\u2028\u2029\ufffe\uffff",
        "\\ \" ' </script> \t\n\r\x01",
        "\u202eright to left",
    ):
        body = world.body("canned")
        body["prompt"] += text
        assert (await world.client.post(SUBMIT, json=body)).status_code == 200
        assert world.received()[0]["input"] == body


async def test_a_prompt_is_as_long_as_it_has_code_points(world: World) -> None:
    body = world.body("canned")
    body["prompt"] += "🚤" * (800 - len(body["prompt"]))
    assert (await world.client.post(SUBMIT, json=body)).status_code == 200
    body["prompt"] += "🚤"
    problem_of(await world.client.post(SUBMIT, json=body), 422, "invalid_input")


async def test_a_picture_by_value_is_accepted(world: World) -> None:
    picture = data_uri(png())
    await world.submitted("canned", image_urls=[picture])
    assert world.received()[0]["input"]["image_urls"] == [picture]


async def test_the_record_is_committed_before_the_upstream_hears_of_the_job(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []
    send = Upstream.submit

    async def look_first(self: Upstream, *args: Any, **kwargs: Any) -> Any:
        engine = create_engine(sync_url(database_url), poolclass=NullPool)
        with engine.connect() as connection:  # another connection sees only what is committed
            rows = connection.execute(select(generations.c.state, generations.c.upstream_request_id))
            seen.extend((row.state, row.upstream_request_id) for row in rows)
        assert world.received() == []
        return await send(self, *args, **kwargs)

    monkeypatch.setattr(Upstream, "submit", look_first)
    await world.submitted()
    assert seen == [("dispatching", None)]


async def test_the_answered_id_is_committed_with_the_upstreams(world: World, database_url: str) -> None:
    request_id = await world.submitted()
    engine = create_engine(sync_url(database_url), poolclass=NullPool)
    with engine.connect() as connection:
        row = connection.execute(select(generations)).one()
        events = connection.scalars(
            select(generation_events.c.state).order_by(generation_events.c.version)
        ).all()
    assert (row.id, row.upstream_request_id) == (request_id, world.received()[0]["request_id"])
    assert list(events) == ["dispatching", "in_queue"]


async def test_each_submit_is_a_job_of_its_own(world: World) -> None:
    body = world.body("canned")
    ids = {(await world.client.post(SUBMIT, json=body)).json()["request_id"] for _ in range(3)}
    assert len(ids) == len(world.received()) == 3


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_the_callers_trace_goes_through_to_the_record(world: World) -> None:
    answer = await world.client.post(
        SUBMIT, json=world.body("canned"), headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    )
    assert answer.headers["reelgate-trace-id"] == TRACE
    assert (await world.record(answer.json()["request_id"]))["trace_id"] == TRACE


async def test_a_trace_that_is_not_well_formed_is_replaced(world: World) -> None:
    zeros = "0" * 32
    for header in (
        f"00-{zeros}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        TRACE,
        "\xff",
    ):
        answer = await world.client.get("/livez", headers=[(b"traceparent", header.encode("latin-1"))])
        assert answer.headers["reelgate-trace-id"].lower() not in {TRACE, zeros}


# --- 200 and 404: which model

KNOWN = (
    quote(DREAMINA, safe=""),
    DREAMINA.replace("-", "%2D"),
    f"/{DREAMINA}",
    f"{DREAMINA}/",
    f"//{DREAMINA}//",
)
UNKNOWN = (
    "bytedance",
    "bytedance/dreamina-3-0",
    f"{DREAMINA}/extra",
    f"x/{DREAMINA}",
    DREAMINA.upper(),
    DREAMINA.replace("b", "B", 1),
    DREAMINA.replace("/", "//"),
    DREAMINA.replace("/", "%5C"),
    quote(quote(DREAMINA, safe=""), safe=""),
    f"{DREAMINA}%00",
    f"%20{DREAMINA}",
    f"{DREAMINA}.json",
    "bytedance/%2e%2e/bytedance/dreamina-3-0/image-to-video",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    f"{DREAMINA}/%2e%2e/image-to-video",
    "bytedance/dreamina-3-0/%C3%AFmage-to-video",
    "bytedance/dreamina-3-0/image-to-video%FF",
    "x" * 5000,
    "a/" * 500 + "a",
    "{model_id}",
    "%7Bmodel_id%7D",
    "' OR 1=1 --/x",
)


async def test_a_model_is_found_percent_encoded_and_with_outer_slashes(world: World) -> None:
    for model_id in KNOWN:
        answer = await world.client.post(f"/v1/models/{model_id}", json=world.body("canned"))
        assert answer.status_code == 200, model_id
        assert world.received()[0]["model_id"] == DREAMINA


async def test_any_other_model_id_is_not_found_and_nothing_is_sent(world: World) -> None:
    calls = world.sandbox.ledger()["calls"]
    for model_id in UNKNOWN:
        answer = await world.client.post(f"/v1/models/{model_id}", json=world.body())
        problem_of(answer, 404, "model_not_found")
    assert world.sandbox.ledger()["calls"] == calls
    assert (await world.get("/v1/requests"))["requests"] == []


async def test_a_line_break_in_an_address_leads_nowhere(world: World) -> None:
    for model_id in (f"%0A{DREAMINA}", f"{DREAMINA}%0D%0AX-Injected:%20yes", DREAMINA.replace("/", "/%0A")):
        answer = await world.client.post(f"/v1/models/{model_id}", json=world.body())
        problem_of(answer, 404, "route_not_found")
        assert world.received() == []


# --- 403


async def test_a_key_without_the_scope_submits_nothing(world: World) -> None:
    reader = await world.another_key(scopes=["read"])
    answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(reader))
    assert "submit" in problem_of(answer, 403, "insufficient_scope")["detail"]
    assert world.received() == []
    assert (await world.get("/v1/requests"))["requests"] == []


async def test_a_key_with_a_list_of_models_submits_to_no_other(world: World) -> None:
    elsewhere = await world.another_key(models=["somebody/else/image-to-video"])
    answer = await world.client.post(SUBMIT, json=world.body(), headers=world.with_key(elsewhere))
    problem_of(answer, 403, "model_not_allowed")
    assert world.received() == []
    here = await world.another_key(models=[DREAMINA])
    answer = await world.client.post(SUBMIT, json=world.body("canned"), headers=world.with_key(here))
    assert answer.status_code == 200


# --- 405


async def test_another_method_is_refused_and_the_allowed_ones_named(world: World) -> None:
    for method in ("DELETE", "PUT", "PATCH", "TRACE", "SUBMIT"):
        answer = await world.client.request(method, SUBMIT)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "OPTIONS", "POST"}


# --- 413

CAP = 262_144
MOST = CAP + 8_388_608  # with files by value


async def test_a_body_at_the_limit_is_read_and_one_byte_more_is_not(world: World) -> None:
    body = b'{"prompt": "' + b"x" * (CAP - 14) + b'"}'
    assert len(body) == CAP
    headers = {"Content-Type": "application/json"}
    problem_of(await world.client.post(SUBMIT, content=body, headers=headers), 422, "invalid_input")
    answer = await world.client.post(SUBMIT, content=body + b" ", headers=headers)
    assert f"{CAP:,}" in problem_of(answer, 413, "body_too_large")["detail"]


async def test_a_chunked_body_is_read_no_further_than_the_limit(world: World) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while given < MOST * 10:
            given += 10_000
            yield b" " * 10_000

    answer = await world.client.post(SUBMIT, content=endless(), headers={"Content-Type": "application/json"})
    problem_of(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert given <= MOST + 10_000


async def test_an_announced_length_is_refused_before_anything_is_read(world: World) -> None:
    async def unread() -> AsyncIterator[bytes]:
        yield b""
        raise AssertionError("the body was read")

    for length in (str(MOST + 1), "9" * 30):
        headers = {"Content-Type": "application/json", "Content-Length": length}
        answer = await world.client.post(SUBMIT, content=unread(), headers=headers)
        problem_of(answer, 413, "body_too_large")


# --- 415


NOT_JSON = (
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/jsonp"},
    {"Content-Type": "application/vnd.api+json"},
    {"Content-Type": ""},
    {"Content-Type": "text/html; application/json"},
    {"Content-Type": "application/json; charset=iso-8859-1"},
    {"Content-Type": 'application/json; charset="utf-16"'},
    {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    {"Content-Type": "application/json", "Content-Encoding": "identity, br"},
)


async def test_only_plain_json_is_taken(world: World) -> None:
    for headers in NOT_JSON:
        answer = await world.client.post(SUBMIT, content=b"{}", headers=headers)
        problem_of(answer, 415, "unsupported_media_type")


async def test_json_is_taken_with_parameters_in_any_case_and_unnamed(world: World) -> None:
    for headers in (
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {"Content-Type": "application/json", "Content-Encoding": "identity"},
        {},
    ):
        answer = await world.client.post(SUBMIT, content=b"{}", headers=headers)
        problem_of(answer, 422, "invalid_input")
