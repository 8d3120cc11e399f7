"""What an exchange with RunComfy proves: the table of docs/, row by row, and what no bytes can ever do."""

import json
import re
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.outcomes import (
    EVIDENCE_LENGTH,
    Exchange,
    Outcome,
    Sent,
    Verdict,
    evidence,
    judge_submit,
    parse_retry_after,
)
from tests.upstream.exchanges import answer, exchanges

NOW_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
OURS = "5f2b8e5e-0000-7000-8000-000000000001"
SAFE_ID = re.compile(r"[A-Za-z0-9._~:-]{1,200}\Z")


def judged(exchange: Exchange) -> Outcome:
    return judge_submit(exchange, now_ms=NOW_MS)


class TestWhatNeverCameBack:
    """Without a complete answer only the bytes that left decide."""

    @pytest.mark.parametrize("sent", [Sent.NOTHING])
    @pytest.mark.parametrize("failure", ["ConnectError", "ConnectTimeout", "timeout", "PoolTimeout", ""])
    def test_before_the_body_is_not_sent(self, sent: Sent, failure: str) -> None:
        outcome = judged(Exchange(sent, failure=failure))
        assert outcome.verdict is Verdict.NOT_SENT
        assert outcome.reason == (failure or "not_sent")

    @pytest.mark.parametrize("failure", ["ReadError", "RemoteProtocolError", "timeout", "too_large", ""])
    @pytest.mark.parametrize("status", [None, 200, 202, 302, 400, 401, 404, 422, 429, 500, 503])
    def test_once_the_body_started_is_unknown(self, failure: str, status: int | None) -> None:
        body = orjson.dumps({"request_id": OURS, "error_code": 400004})
        exchange = Exchange(Sent.BODY, status, {"retry-after": "1"}, body, complete=False, failure=failure)
        outcome = judged(exchange)
        assert outcome.verdict is Verdict.UNKNOWN
        assert outcome.upstream_request_id is None
        assert outcome.reason == (failure or "incomplete")


class TestSuccess:
    @pytest.mark.parametrize("status", [200, 201, 202, 299])
    @pytest.mark.parametrize("request_id", [OURS, "a", "A-Z_0.9~:"[:3], "x" * 200, "0", "a.b~c:d-e"])
    def test_with_a_safe_id_is_accepted(self, status: int, request_id: str) -> None:
        outcome = judged(answer(status, {"request_id": request_id, "status_url": "…"}))
        assert (outcome.verdict, outcome.upstream_request_id) == (Verdict.ACCEPTED, request_id)

    @pytest.mark.parametrize(
        "request_id",
        [
            None,
            "",
            12345,
            0,
            1.5,
            True,
            [],
            ["a"],
            {},
            {"id": "a"},
            "x" * 201,
            "x" * 100_000,
            "../../etc",
            "a/b",
            "a\\b",
            "a b",
            " a",
            "a\n",
            "a\r\nX: y",
            "a\0",
            "a?b",
            "a#b",
            "a%2f",
            "ä",
            "１２３",  # noqa: RUF001 - digits of another script
            "a'b",
            'a"b',
            "<a>",
            "\u202ea",
        ],
    )
    def test_without_a_usable_id_is_unknown(self, request_id: Any) -> None:
        outcome = judged(answer(200, {"request_id": request_id}))
        assert (outcome.verdict, outcome.reason) == (Verdict.UNKNOWN, "no_usable_id")
        assert outcome.upstream_request_id is None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"{}",
            b"null",
            b"[]",
            b'["a"]',
            b'"text"',
            b"1",
            b"{",
            b'{"request_id": "a"',
            b'{"request_id": "a"}}',
            b'{"request_id": "a"} x',
            b"<html><body>Welcome</body></html>",
            b'\xef\xbb\xbf{"request_id": "a"}',
            b'{"request_id": "\xff"}',
            b'{"request_id": "\\ud800"}',
            b'{"requestId": "a"}',
            b'{"data": {"request_id": "a"}}',
            b"\x1f\x8b\x08\x00\x00\x00",
            b"[" * 100_000,
            b'{"a":' * 100_000,
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_with_anything_but_an_object_with_an_id_is_unknown(self, body: bytes) -> None:
        assert judged(answer(200, body=body)).verdict is Verdict.UNKNOWN

    def test_204_has_no_id_and_is_unknown(self) -> None:
        assert judged(answer(204, body=b"")).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize(
        ("code", "verdict"),
        [
            (400001, Verdict.REJECTED_UNSERVED),
            (400002, Verdict.REJECTED_CREDENTIAL),
            (400004, Verdict.REJECTED_CREDENTIAL),
            (403001, Verdict.REJECTED_CREDENTIAL),
            (404001, Verdict.REJECTED_UNSERVED),
            ("400004", Verdict.REJECTED_CREDENTIAL),
            (400003, Verdict.REJECTED_INPUT),
            (999999, Verdict.REJECTED_INPUT),
        ],
    )
    @pytest.mark.parametrize("status", [200, 400])
    def test_an_error_code_is_a_refusal_whatever_the_status(
        self, code: int | str, verdict: Verdict, status: int
    ) -> None:
        outcome = judged(answer(status, {"error_code": code, "error_message": "no"}))
        assert outcome.verdict is verdict
        assert outcome.words.code == int(code)
        assert outcome.words.message == "no"
        assert outcome.upstream_request_id is None

    def test_a_null_error_code_beside_an_id_is_no_error(self) -> None:
        assert judged(answer(200, {"request_id": "a", "error_code": None})).verdict is Verdict.ACCEPTED


REFUSALS = {
    400: Verdict.REJECTED_INPUT,
    401: Verdict.REJECTED_CREDENTIAL,
    402: Verdict.REJECTED_CREDENTIAL,
    403: Verdict.REJECTED_CREDENTIAL,
    404: Verdict.REJECTED_UNSERVED,
    405: Verdict.REJECTED_UNSERVED,
    409: Verdict.REJECTED_INPUT,
    413: Verdict.REJECTED_INPUT,
    415: Verdict.REJECTED_INPUT,
    422: Verdict.REJECTED_INPUT,
    429: Verdict.BUSY,
    **dict.fromkeys(range(300, 400), Verdict.REJECTED_UNSERVED),
}


class TestRefusals:
    @pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"message": "no"}', b'{"request_id": "a"}'])
    def test_every_status_that_is_no_success_has_its_verdict(self, body: bytes) -> None:
        """Those that the table does not name prove nothing, and none of them ever accepts a job."""
        for status in [*range(100, 200), *range(300, 1000)]:
            outcome = judged(answer(status, body=body))
            assert outcome.verdict is REFUSALS.get(status, Verdict.UNKNOWN), status
            assert outcome.upstream_request_id is None
            assert outcome.reason == f"http_{status}"

    @pytest.mark.parametrize("status", [408, 425, 500, 501, 502, 503, 504, 505, 507, 520, 524, 529, 599])
    def test_a_server_side_failure_is_unknown(self, status: int) -> None:
        assert judged(answer(status, {"message": "oops"})).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize("status", [500, 502, 504, 408, 425])
    def test_retry_after_does_not_turn_an_unknown_into_busy(self, status: int) -> None:
        assert judged(answer(status, {}, retry_after="1")).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize(
        ("code", "verdict"),
        [
            (400002, Verdict.REJECTED_CREDENTIAL),
            (400004, Verdict.REJECTED_CREDENTIAL),
            (403001, Verdict.REJECTED_CREDENTIAL),
            (400001, Verdict.REJECTED_UNSERVED),
            (404001, Verdict.REJECTED_UNSERVED),
        ],
    )
    def test_our_own_faults_are_told_from_the_callers_by_the_code(self, code: int, verdict: Verdict) -> None:
        for status in (400, 409, 413, 415, 422):
            assert judged(answer(status, {"error_code": code})).verdict is verdict

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("0", 0),
            ("7", 7),
            (" 7 ", 7),
            ("007", 7),
            ("86400", 86_400),
            ("86401", 86_400),
            ("9" * 400, 86_400),
            ("Mon, 21 Sep 2026 14:13:30 GMT", 10),
            ("Mon, 21 Sep 2026 14:13:30", 10),
            ("Monday, 21-Sep-26 14:13:30 GMT", 10),
            ("Mon Sep 21 14:13:30 2026", 10),
            ("Mon, 21 Sep 2026 14:13:10 GMT", 0),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_as_seconds_or_date_is_bounded(self, header: str, seconds: int, status: int) -> None:
        outcome = judged(answer(status, {}, retry_after=header))
        assert (outcome.verdict, outcome.retry_after_s) == (Verdict.BUSY, seconds)

    @pytest.mark.parametrize(
        "header",
        ["", " ", "-1", "-86400", "1.5", "1e3", "soon", "7 seconds", "٣", "²", "0x10", "\0", "🕐", ","],
    )
    def test_a_retry_after_that_cannot_be_read_is_none(self, header: str) -> None:
        """429 refuses without it; a 503 is a refusal only by it, so without one it proves nothing."""
        assert judged(answer(429, {}, retry_after=header)).retry_after_s is None
        assert judged(answer(429, {}, retry_after=header)).verdict is Verdict.BUSY
        assert judged(answer(503, {}, retry_after=header)).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ({"error_message": "a", "message": "b"}, "a"),
            ({"message": "Unauthorized"}, "Unauthorized"),
            ({"error": "c"}, "c"),
            ({"detail": "d"}, "d"),
            ({"message": "x" * 5000}, "x" * 1000),
            ({"message": {"not": "text"}}, ""),
            ({}, ""),
        ],
    )
    def test_words_are_read_in_every_shape_seen(self, document: dict[str, Any], message: str) -> None:
        assert judged(answer(400, document)).words.message == message

    def test_detail_names_the_places_in_the_input(self) -> None:
        detail = [
            {"loc": ["body", "image_urls", 0], "msg": "too small", "type": "x"},
            {"loc": ["prompt"], "msg": "too long"},
            {"loc": "prompt", "msg": "no list"},
            {"msg": "no place"},
            {"loc": ["body", "a"]},
            "nonsense",
            None,
        ]
        assert judged(answer(422, {"detail": detail})).words.detail == (
            (("image_urls", 0), "too small"),
            (("prompt",), "too long"),
            ((), "no list"),
            ((), "no place"),
        )


@given(exchanges)
def test_no_answer_whatsoever_raises_or_is_accepted_without_a_safe_id(exchange: Exchange) -> None:
    outcome = judged(exchange)
    if outcome.verdict is Verdict.ACCEPTED:
        assert exchange.complete
        assert exchange.status is not None
        assert 200 <= exchange.status < 300
        assert outcome.upstream_request_id is not None
        assert SAFE_ID.match(outcome.upstream_request_id)
        assert orjson.loads(exchange.body)["request_id"] == outcome.upstream_request_id
    else:
        assert outcome.upstream_request_id is None
    assert outcome.retry_after_s is None or 0 <= outcome.retry_after_s <= 86_400
    assert 0 < len(outcome.reason) <= 64


@given(exchanges)
def test_a_body_that_started_without_a_complete_answer_is_always_unknown(exchange: Exchange) -> None:
    outcome = judged(replace(exchange, sent=Sent.BODY, complete=False))
    assert outcome.verdict is Verdict.UNKNOWN


@given(exchanges)
def test_not_sent_is_said_only_of_what_did_not_leave(exchange: Exchange) -> None:
    if judged(exchange).verdict is Verdict.NOT_SENT:
        assert exchange.sent is not Sent.BODY


@given(
    st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [+-]?[A-Z\d]{1,5}")
)
def test_no_retry_after_raises_or_leaves_a_day(header: str) -> None:
    seconds = parse_retry_after(header, now_ms=NOW_MS)
    assert seconds is None or 0 <= seconds <= 86_400


@given(st.binary(max_size=10_000))
def test_evidence_is_bounded_and_always_storable(body: bytes) -> None:
    kept = evidence(Exchange(Sent.BODY, 200, {}, body, complete=True), "malformed", str)
    assert len(kept["body"]) <= EVIDENCE_LENGTH
    assert orjson.loads(orjson.dumps(kept))["body"] == kept["body"]


@pytest.mark.parametrize(
    ("document", "verdict"),
    [
        ({"error_code": 0, "request_id": "r"}, Verdict.ACCEPTED),
        ({"error_code": None, "request_id": "r"}, Verdict.ACCEPTED),
        ({"error_code": "", "request_id": "r"}, Verdict.ACCEPTED),
        ({"error_code": 500001, "request_id": "r"}, Verdict.UNKNOWN),
        ({"error_code": "what"}, Verdict.UNKNOWN),
        ({"error_code": {}}, Verdict.UNKNOWN),
        ({"error_code": 500001}, Verdict.REJECTED_INPUT),
        ({"error_code": "400004"}, Verdict.REJECTED_CREDENTIAL),
    ],
)
def test_only_a_readable_code_without_an_id_beside_it_proves_that_there_is_no_job(
    document: dict[str, Any], verdict: Verdict
) -> None:
    body = json.dumps(document).encode()
    exchange = Exchange(Sent.BODY, 200, {}, body, complete=True)
    assert judge_submit(exchange, now_ms=0).verdict is verdict


def test_an_answer_too_deep_to_write_down_again_is_malformed() -> None:
    deep = b'{"request_id": "r", "x": ' + b"[" * 500 + b"]" * 500 + b"}"
    exchange = Exchange(Sent.BODY, 200, {}, deep, complete=True)
    assert judge_submit(exchange, now_ms=0).verdict is Verdict.UNKNOWN


def test_a_secret_across_the_cut_of_the_evidence_is_not_kept_in_part() -> None:
    body = b"x" * (EVIDENCE_LENGTH - 4) + b"secret-token"
    exchange = Exchange(Sent.BODY, 500, {}, body, complete=True)
    kept = evidence(exchange, "http_500", lambda text: text.replace("secret-token", "[redacted]"))
    assert "secr" not in kept["body"]
