"""The Python library against the contract: its types, its calls, its errors and what it makes of them."""

import asyncio
import base64
import copy
import hashlib
import hmac
import inspect
import io
import json
import pickle
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import reelgate_client
from PIL import Image
from reelgate_client import (
    AsyncReelgate,
    InvalidInput,
    InvalidWebhook,
    NoGateway,
    OutcomeUnknown,
    PictureRefused,
    Reelgate,
    ReelgateError,
    Retries,
    Unavailable,
    Unreachable,
    pictures,
)
from reelgate_client.errors import Refused, refusal
from reelgate_client.webhooks import verify

from app import errors as catalogue
from tools import client_sync, client_types

ROOT = Path(__file__).parents[2]
CONTRACT: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))
MODEL = "bytedance/dreamina-3-0/image-to-video"
ONCE = Retries(tries=3, first_delay_s=0, max_delay_s=0)
Answer = Callable[[httpx2.Request], httpx2.Response]


@contextmanager
def answered(answer: Answer, **more: Any) -> Iterator[Reelgate]:
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        yield Reelgate("rg_test_key", "https://gateway.example/", http=http, retries=ONCE, **more)


def as_gateway(status: int, document: Any = None, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json=document or {}, headers={"Reelgate-Trace-Id": "a" * 32, **headers})


def test_the_synchronous_client_is_the_asynchronous_one() -> None:
    for path, text in client_sync.sources().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m tools.client_sync"


def test_the_types_are_the_contracts() -> None:
    assert client_types.TARGET.read_text(encoding="utf-8") == client_types.source(), (
        "run python -m tools.client_types"
    )


def test_the_library_has_the_gateways_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert reelgate_client.__version__ == project["version"]
    assert f"## {reelgate_client.__version__}" in (ROOT / "clients/python/CHANGELOG.md").read_text(
        encoding="utf-8"
    )
    assert (ROOT / "clients/python/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_every_call_is_an_operation_of_the_contract() -> None:
    called: list[httpx2.Request] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        called.append(request)
        return as_gateway(200, {"request_id": "r1", "status": "succeeded"})

    with answered(note) as client:
        client.submit(MODEL, {}, start_deadline=60)
        for method in (client.status, client.record, client.cancel):
            method("r1")
        client.result("r1", include_cost=True)
        client.requests(limit=5, state=["failed", "lost"], model_id=MODEL)
        client.quote(MODEL, {})
        client.quota()
        client.usage(from_="2026-11-01", by="day", group_by="model")
        client.models(search="boat", include_schema=True)
        client.model(MODEL)
        client.create_client_token(end_user="u1", lifetime_s=60)
        client.client_tokens(limit=1)
        client.client_token("t1")
        client.revoke_client_token("t1")
    known = [
        (
            method.upper(),
            re.compile(
                re.sub(
                    r"\\\{model_id\\\}", ".+", re.sub(r"\\\{(?!model_id)\w+\\\}", "[^/]+", re.escape(path))
                )
            ),
        )
        for path, operations in CONTRACT["paths"].items()
        for method in operations
    ]
    for request in called:
        matching = [
            path for method, path in known if method == request.method and path.fullmatch(request.url.path)
        ]
        assert matching, request.url.path
        assert request.headers["authorization"] == "Bearer rg_test_key"
        assert request.headers["user-agent"].startswith("reelgate-client/")
        for name in request.url.params:
            assert name in json.dumps(CONTRACT["paths"]), name
    methods = {
        name for name, _ in inspect.getmembers(Reelgate, inspect.isfunction) if not name.startswith("_")
    }
    assert methods - {"close"} == {
        name.replace("aclose", "close")
        for name, _ in inspect.getmembers(AsyncReelgate, inspect.isfunction)
        if not name.startswith("_") and name != "aclose"
    }


@pytest.mark.parametrize("fault", catalogue.CATALOGUE, ids=lambda one: one.code)
def test_every_problem_is_a_typed_exception_that_says_what_to_do(fault: catalogue.Fault) -> None:
    problem = {
        "code": fault.code,
        "title": fault.title,
        "status": fault.status,
        "retryable": fault.retryable,
        "remedy": fault.remedy,
        "request_id": "r1",
        "errors": [{"pointer": "#/prompt", "code": "required", "detail": "is required"}],
        "retry_after_s": 7,
        "trace_id": "t1",
    }
    error = refusal(fault.status, problem)
    assert type(error) not in {ReelgateError, Refused}
    assert (error.code, error.retryable, error.remedy) == (fault.code, fault.retryable, fault.remedy)
    assert (error.request_id, error.retry_after_s, error.trace_id) == ("r1", 7, "t1")
    assert "#/prompt is required" in str(error)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert (type(again), vars(again)) == (type(error), vars(error))


PROBLEM = {"code": "upstream_busy", "retryable": True, "title": "Busy.", "remedy": "Wait."}


@pytest.mark.parametrize(
    ("first", "is_gateway", "tries", "kind"),
    [
        (httpx2.ConnectError("refused"), False, 3, Unreachable),  # nothing was sent
        (httpx2.ReadError("cut"), True, 3, OutcomeUnknown),
        (httpx2.ReadError("cut"), False, 1, OutcomeUnknown),
        (httpx2.Response(502, text="<h1>"), True, 3, OutcomeUnknown),
        (httpx2.Response(502, text="<h1>"), False, 1, OutcomeUnknown),
        (as_gateway(503, PROBLEM), True, 3, Unavailable),
        (as_gateway(503, PROBLEM | {"retryable": False}), True, 1, Unavailable),
        (as_gateway(503, PROBLEM, **{"Retry-After": "3600"}), True, 1, Unavailable),
        (
            as_gateway(504, {"code": "outcome_unknown", "retryable": False, "request_id": "r"}),
            True,
            1,
            OutcomeUnknown,
        ),
        (httpx2.Response(200, text="<h1>"), False, 1, NoGateway),
        (httpx2.Response(302, headers={"Location": "https://other.example"}), False, 1, NoGateway),
    ],
)
def test_a_submit_is_made_again_only_where_that_is_provably_one_submit(
    first: Exception | httpx2.Response, is_gateway: bool, tries: int, kind: type[ReelgateError]
) -> None:
    keys = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":  # who are you?
            return as_gateway(200) if is_gateway else httpx2.Response(200, json={})
        keys.append(request.headers["idempotency-key"])
        if isinstance(first, Exception):
            raise first
        return httpx2.Response(first.status_code, content=first.content, headers=first.headers)

    with answered(answer) as client, pytest.raises(ReelgateError) as failed:
        client.submit(MODEL, {})
    assert type(failed.value) is kind
    assert (len(keys), len(set(keys))) == (tries, 1)
    if isinstance(failed.value, OutcomeUnknown) and not failed.value.request_id:
        assert failed.value.idempotency_key == (keys[0] if is_gateway else None)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (422, "invalid_input", InvalidInput),
        (401, "invalid_api_key", OutcomeUnknown),
        (422, "media_unreachable", OutcomeUnknown),
    ],
)
def test_a_refusal_after_a_lost_answer_is_told_as_one_only_where_it_is_of_the_first_try_too(
    status: int, code: str, kind: type[ReelgateError]
) -> None:
    submits = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            submits.append(request)
            if len(submits) == 1:
                raise httpx2.ReadError("cut")
        return as_gateway(status, {"code": code, "retryable": False})

    with answered(answer) as client, pytest.raises(ReelgateError) as failed:
        client.submit(MODEL, {})
    assert type(failed.value) is kind


def test_a_token_is_not_created_twice_where_the_answer_is_lost() -> None:
    calls = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        raise httpx2.ReadError("cut")

    with answered(answer) as client, pytest.raises(Unreachable):
        client.create_client_token()
    assert len(calls) == 1


def test_a_key_or_address_that_cannot_be_is_refused_before_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REELGATE_KEY", "REELGATE_URL"):
        monkeypatch.delenv(name, raising=False)
    for key, url in (
        ("", "https://a.example"),
        ("a b", "https://a.example"),
        ("k", ""),
        ("k", "a.example"),
        ("k", "https://u:p@a.example"),
    ):
        with pytest.raises(ValueError, match=r"key|gateway|URL"):
            Reelgate(key, url)
    with Reelgate("rg_test_secret", "https://a.example") as client:
        assert "secret" not in repr(client)


def test_the_standards_own_example_verifies_and_nothing_else_does() -> None:
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = {
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1a,abc v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    check = partial(verify, now_s=1614265330.0)
    assert check(body, headers, secret) == {"test": 2432232314}
    assert check(body.decode(), headers, ["whsec_AAAA", secret]) == {"test": 2432232314}
    bad: list[tuple[bytes, dict[str, str], Any, float]] = [
        (body + b" ", headers, secret, 1614265330.0),
        (body, headers, "whsec_AAAA", 1614265330.0),
        (body, headers, secret, 1614265330.0 + 301),
        (body, headers, secret, 1614265330.0 - 301),
        (body, headers | {"Webhook-Timestamp": "1614265331"}, secret, 1614265330.0),
        (body, headers | {"Webhook-Timestamp": "٣"}, secret, 1614265330.0),
        (body, headers | {"Webhook-Signature": ""}, secret, 1614265330.0),
        (body, {}, secret, 1614265330.0),
    ]
    for given, with_headers, with_secret, now_s in bad:
        with pytest.raises(InvalidWebhook):
            verify(given, with_headers, with_secret, now_s=now_s)
    bad_secrets: tuple[Any, ...] = ([], "whsec_", "whsec_?")
    for impossible in bad_secrets:
        with pytest.raises(ValueError, match="secret"):
            check(body, headers, impossible)


def _picture(width: int, height: int, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    written = io.BytesIO()
    noise = Image.effect_noise((width, height), 90).convert(mode)
    noise.save(written, kind)
    return written.getvalue()


RULES = [
    {"pointer": "/image_urls/*", "kind": "image", "rule": "file_size_mb<", "value": 0.02},
    {"pointer": "/image_urls/*", "kind": "image", "rule": "width_pixels<=", "value": 200},
    {"pointer": "/image_urls/*", "kind": "image", "rule": "shortest_side_pixels>=", "value": 20},
    {"pointer": "/image_urls/*", "kind": "image", "rule": "width/height<=", "value": 3},
    {"pointer": "/video", "kind": "video", "rule": "width_pixels<=", "value": 10},
]


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB")])
def test_a_picture_is_made_smaller_only_when_asked_and_until_it_fits(
    kind: str, mode: str, tmp_path: Path
) -> None:
    path = tmp_path / "a picture"
    path.write_bytes(_picture(320, 160, kind, mode))
    served = lambda _: as_gateway(200, {"model_id": MODEL, "media_rules": RULES})  # noqa: E731 - one line
    with answered(served) as client:
        whole = base64.b64decode(client.upload(path).partition(",")[2])
        assert whole == path.read_bytes()
        uri = client.upload(path, shrink_for=MODEL)
    small = base64.b64decode(uri.partition(",")[2])
    assert len(small) < 20_000
    with Image.open(io.BytesIO(small)) as opened:
        assert opened.width <= 200
        assert opened.width / opened.height == pytest.approx(2, abs=0.05)
        assert Image.MIME[str(opened.format)] == uri[5:].partition(";")[0]
    small_enough = _picture(40, 30)
    assert pictures.shrunk(small_enough, pictures.room_of(RULES)) == small_enough


@pytest.mark.parametrize("content", [b"<html>", _picture(900, 30), b"\xff\xd8\xff broken"])
def test_what_no_shrinking_mends_is_refused(content: bytes) -> None:
    with pytest.raises(PictureRefused):
        pictures.data_uri(pictures.shrunk(content, pictures.room_of(RULES)))


class _Data(httpx2.SyncByteStream):
    """What comes over a wire that may break."""

    def __init__(self, data: bytes, *, breaks: bool = False) -> None:
        self.data, self.breaks = data, breaks

    def __iter__(self) -> Iterator[bytes]:
        yield self.data
        if self.breaks:
            raise httpx2.ReadError("cut")


def _ranged(whole: bytes, request: httpx2.Request, *, tag: str = '"v1"', **more: str) -> httpx2.Response:
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    if asked and request.headers["if-range"] == tag:
        start = int(asked[1])
        said = {"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}", "ETag": tag}
        return httpx2.Response(206, stream=_Data(whole[start:]), headers=said)
    return httpx2.Response(200, stream=_Data(whole), headers={"ETag": tag, **more})


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_download_goes_on_where_it_broke_off_unless_the_file_has_changed(
    tmp_path: Path, is_replaced: bool
) -> None:
    first, second = b"a" * 100 + b"b" * 100, b"c" * 150
    calls: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        calls.append(request.headers.get("range", ""))
        assert "authorization" not in request.headers
        if len(calls) == 1:
            head = {"Content-Length": "200", "ETag": '"v1"'}
            return httpx2.Response(200, stream=_Data(first[:100], breaks=True), headers=head)
        return _ranged(second if is_replaced else first, request, tag='"v2"' if is_replaced else '"v1"')

    with answered(answer) as client:
        done = client.download("https://files.example/x/clip.mp4?sig=1", tmp_path)
    expected = second if is_replaced else first
    assert (done.path, done.path.read_bytes()) == (tmp_path / "clip.mp4", expected)
    assert (done.size_bytes, done.sha256) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert calls == ["", "bytes=100-"]
    assert [one.name for one in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_file_that_is_not_the_announced_one_does_not_appear(tmp_path: Path) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    target = tmp_path / "a.mp4"
    with answered(
        lambda request: _ranged(b"data", request, **{"Repr-Digest": f"sha-256=:{wrong}:"})
    ) as client:
        with pytest.raises(ReelgateError) as failed:
            client.download("https://files.example/a", target)
        assert failed.value.code == "download_differs"
    with answered(partial(_ranged, b"data")) as client, pytest.raises(ReelgateError):
        client.download("https://files.example/a", target, sha256="0" * 64)
    with answered(lambda _: httpx2.Response(404)) as client, pytest.raises(ReelgateError, match="404"):
        client.download("https://files.example/a?secret", target)
    assert list(tmp_path.iterdir()) == []


def test_the_loops_client_has_what_the_threads_client_has() -> None:
    async def run() -> dict[str, Any]:
        transport = httpx2.MockTransport(lambda _: as_gateway(200, {"limits": []}))
        async with (
            httpx2.AsyncClient(transport=transport) as http,
            AsyncReelgate("k", "https://a.example", http=http) as client,
        ):
            return dict(await client.quota())

    assert asyncio.run(run()) == {"limits": []}


def test_signatures_of_the_gateways_form_verify() -> None:
    key, body = b"k" * 32, b'{"type":"request.completed"}'
    signature = base64.b64encode(hmac.new(key, b"msg_1.1000." + body, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1000", "webhook-signature": f"v1,{signature}"}
    secret = f"whsec_{base64.b64encode(key).decode()}"
    assert verify(body, headers, secret, now_s=1000.0) == {"type": "request.completed"}
