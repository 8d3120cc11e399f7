"""RunComfy's routes in RunComfy's shapes."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.sandbox.harness import DREAMINA, Running, running

GUARDED = [
    ("POST", f"/v1/models/{DREAMINA}"),
    ("GET", f"/v1/models/{DREAMINA}"),
    ("GET", "/v1/models"),
    ("GET", "/v1/requests/x/status"),
    ("GET", "/v1/requests/x/result"),
    ("POST", "/v1/requests/x/cancel"),
    ("GET", "/sandbox/ledger"),
    ("DELETE", "/sandbox/ledger"),
]


@pytest.fixture(scope="module")
def stranger(shared: Running) -> Iterator[httpx2.Client]:
    """A client without a token."""
    with httpx2.Client(base_url=shared.options.public_url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Basic c2FuZGJveC10b2tlbg==", "sandbox-token", "Bearer é"]
)
def test_every_v1_route_demands_the_token_with_400004(
    stranger: httpx2.Client, method: str, path: str, header: str | None
) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode())]
    answer = stranger.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, 400004)


def test_the_life_of_a_job_on_every_route(shared: Running) -> None:
    answer = shared.post("a boat", number_of_frames=5, resolution="240P")
    body = answer.json()
    request_id = body["request_id"]
    base = f"{shared.options.public_url}/v1/requests/{request_id}"
    assert str(uuid.UUID(request_id)) == request_id
    assert body == {
        "request_id": request_id,
        "status_url": f"{base}/status",
        "result_url": f"{base}/result",
        "cancel_url": f"{base}/cancel",
    }
    urls = {"status_url": f"{base}/status", "result_url": f"{base}/result"}
    queued = shared.status(request_id)
    assert isinstance(queued.pop("queue_position"), int)
    assert queued == {"request_id": request_id, "status": "in_queue", **urls}
    unfinished = shared.result(request_id)
    assert unfinished.keys() == {"request_id", "status", "created_at"}
    shared.clock.now += 1
    assert shared.status(request_id) == {"request_id": request_id, "status": "in_progress", **urls}
    assert shared.result(request_id)["status"] == "in_progress"
    result = shared.finish(request_id)
    assert shared.status(request_id) == {"request_id": request_id, "status": "completed", **urls}
    assert result.keys() == {"request_id", "status", "output", "created_at", "finished_at"}
    assert result["created_at"] < result["finished_at"]
    assert result["finished_at"].endswith("Z")
    assert result["output"] == {"video": f"{shared.options.public_url}/files/{request_id}.mp4"}


def test_cost_is_a_number_on_finished_jobs_and_only_when_asked_for(shared: Running) -> None:
    fine, failed = shared.submit("[sandbox:canned]", duration=10), shared.submit("[sandbox:fail]")
    assert "cost" not in shared.result(fine, "?include_cost=true")
    shared.finish(fine)
    shared.finish(failed)
    assert "cost" not in shared.result(fine)
    assert shared.result(fine, "?include_cost=true")["cost"] == 0.5
    assert shared.result(failed, "?include_cost=true")["cost"] == 0


def test_cancel_takes_a_queued_job_once_and_no_other(shared: Running) -> None:
    request_id = shared.submit("[sandbox:queue=50]")
    assert shared.cancel(request_id) == {
        "request_id": request_id,
        "status": "cancelled",
        "outcome": "cancelled",
    }
    assert shared.cancel(request_id)["outcome"] == "not_cancellable"
    assert shared.result(request_id)["status"] == "cancelled"
    going = shared.submit("[sandbox:fail]")
    shared.clock.now += 2
    assert shared.cancel(going) == {
        "request_id": going,
        "status": "in_progress",
        "outcome": "not_cancellable",
    }


def test_the_place_in_line_is_the_number_of_jobs_before(tmp_path: Path) -> None:
    with running(tmp_path, concurrency=1) as sandbox:
        ids = [sandbox.submit("[sandbox:fail]") for _ in range(3)]
        assert [sandbox.status(each)["queue_position"] for each in ids] == [0, 1, 2]
        sandbox.clock.now += 2
        assert [sandbox.status(each).get("queue_position") for each in ids] == [None, 0, 1]


@pytest.mark.parametrize("what", ["status", "result", "cancel"])
def test_an_unknown_request_is_404001(shared: Running, what: str) -> None:
    answer = shared.client.request(
        "POST" if what == "cancel" else "GET", f"/v1/requests/{uuid.uuid4()}/{what}"
    )
    assert (answer.status_code, answer.json()["error_code"]) == (404, 404001)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"a":' + b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"]
)
def test_a_body_that_is_no_object_is_422(shared: Running, content: bytes) -> None:
    answer = shared.client.post(f"/v1/models/{DREAMINA}", content=content)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], list)


@pytest.mark.parametrize("model_id", ["one", "a/b/c/d/e/f", "a//b"])
def test_a_bad_model_id_is_400001(shared: Running, model_id: str) -> None:
    answer = shared.post("", model_id=model_id)
    assert (answer.status_code, answer.json()["error_code"]) == (400, 400001)


@pytest.mark.parametrize(
    "path",
    [
        "kling/video-o3/4K/image-to-video",
        "kling/video-o3/4K/image-to-video/",
        "kling%2Fvideo-o3%2F4K%2Fimage-to-video",
    ],
)
def test_any_other_model_id_is_taken_with_outer_slashes_and_percent_signs(shared: Running, path: str) -> None:
    assert shared.post("[sandbox:fail]", model_id=path).status_code == 200
    assert shared.last_submission()["model_id"] == "kling/video-o3/4K/image-to-video"


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/v1/models/", "/v1/requests/x/status/", "/files/x.mp4", "/samples/x"]
)
def test_every_other_path_is_a_json_refusal_and_never_a_redirect(shared: Running, path: str) -> None:
    answer = shared.client.get(path)
    assert answer.status_code in {400, 404}
    assert isinstance(answer.json(), dict)
    assert shared.client.put("/v1/models").json() == {"message": "Method Not Allowed"}


def test_a_body_over_the_limit_is_413(tmp_path: Path) -> None:
    with running(tmp_path, max_body_bytes=1000) as sandbox:
        assert sandbox.post("x" * 2000).status_code == 413
        assert sandbox.ledger()["submissions"] == []


def test_the_catalogue_lists_models_and_knows_any(shared: Running) -> None:
    catalogue = shared.json("/v1/models")
    assert catalogue.keys() == {"models", "total", "limit", "offset"}
    assert DREAMINA in {each["model_id"] for each in catalogue["models"]}
    entry = shared.json("/v1/models/some/thing/text-to-image")
    assert entry["model_id"] == "some/thing/text-to-image"
    assert entry.keys() >= {"display_name", "base_price_usd", "price_unit", "input_schema"}
    assert (entry["kind"], entry["categories"]) == ("model", ["text-to-image"])


def test_the_ledger_holds_every_submission_and_counts_every_call(tmp_path: Path) -> None:
    with running(tmp_path) as sandbox:
        request_id = sandbox.submit("[sandbox:fail]", seed=7)
        sandbox.post("[sandbox:reject]")
        sandbox.status(request_id)
        sandbox.status(request_id)
        sandbox.result(request_id)
        sandbox.cancel(request_id)
        ledger = sandbox.ledger()
        assert ledger["submissions"][0] == {
            "request_id": request_id,
            "model_id": DREAMINA,
            "received_at": sandbox.clock.now,
            "input": {"prompt": "[sandbox:fail]", "seed": 7},
            "recorded": True,
            "answered": True,
        }
        assert [each["recorded"] for each in ledger["submissions"]] == [True, False]
        assert ledger["charges"] == 1
        assert ledger["calls"] == {"submit": 2, "status": 2, "result": 1, "cancel": 1}
        assert ledger["requests"] == {request_id: {"status": 2, "result": 1, "cancel": 1}}
        assert sandbox.client.delete("/sandbox/ledger").json()["submissions"] == []
        assert sandbox.ledger()["calls"]["submit"] == 0
        assert sandbox.status(request_id)["status"] == "cancelled"


def test_inputs_that_json_can_hardly_carry_do_not_break_the_ledger(tmp_path: Path) -> None:
    with running(tmp_path) as sandbox:
        content = b'{"prompt": "[sandbox:fail] \\ud800", "seed": NaN}'
        assert sandbox.client.post(f"/v1/models/{DREAMINA}", content=content).status_code == 200
        assert sandbox.last_submission()["input"]["prompt"].endswith("\ud800")
