"""What an exchange with RunComfy proves: evidence in, meaning out. Pure.

RunComfy has no idempotency key, so after a submit only the evidence tells whether a paid job may exist.
Whatever is not proven is unknown, never a failure.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import orjson

EVIDENCE_LENGTH = 4096
_SAFE_ID = re.compile(r"[A-Za-z0-9._~:-]{1,200}\Z")
_MAX_MESSAGE_LENGTH = 1000
_MAX_LEVELS = 64  # RunComfy's documents have five
_MAX_RETRY_AFTER_S = 86_400

# RunComfy's documented codes; the rest of its refusals are about the input.
_CREDENTIAL_CODES = frozenset({400002, 400004, 403001})  # no balance; bad token; somebody else's request
_NOT_FOUND_CODE = 404001
_UNSERVED_CODES = frozenset({400001, _NOT_FOUND_CODE})  # bad model id; unknown request
_NO_ERROR = (None, 0, False, "")
_CREDENTIAL_STATUSES = frozenset({401, 402, 403})
_UNSERVED_STATUSES = frozenset({404, 405})
_INPUT_STATUSES = frozenset({400, 409, 413, 415, 422})


class Sent(StrEnum):
    """How much of a request may have been sent: nothing, or anything up to its whole body."""

    NOTHING = "nothing"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request and whatever came back.

    `status`, `headers` (lower-case names) and `body` are as far as they arrived; `complete` is True only when
    the whole answer did, inside the deadline and the cap. `failure` says why it did not.
    """

    sent: Sent
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    failure: str = ""


class Verdict(StrEnum):
    """What became of a submit."""

    ACCEPTED = "accepted"
    REJECTED_INPUT = "rejected_input"
    REJECTED_CREDENTIAL = "rejected_credential"
    REJECTED_UNSERVED = "rejected_unserved"
    BUSY = "busy"
    NOT_SENT = "not_sent"
    FILE_GONE = "file_gone"
    """Nothing was sent, because an uploaded file of the input is not there any more."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """The details of an error answer of RunComfy's, as far as they could be read.

    `detail` pairs the path of each faulty field of the input with a message.
    """

    code: int | None = None
    message: str = ""
    detail: tuple[tuple[tuple[str | int, ...], str], ...] = ()


NO_DETAILS: Final = ErrorDetails()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on a submit, with what belongs to it.

    `upstream_request_id` is set only when it was accepted, `retry_after_s` (seconds) only when RunComfy is
    busy. `reason` is one of a few constant words for logs and records.
    """

    verdict: Verdict
    reason: str
    upstream_request_id: str | None = None
    retry_after_s: int | None = None
    words: ErrorDetails = NO_DETAILS


def is_safe_id(text: str) -> bool:
    """Returns whether this is an upstream id that may be stored and put into a URL."""
    return _SAFE_ID.match(text) is not None


def judge_submit(exchange: Exchange, *, now_ms: int) -> Outcome:
    """Returns the outcome of a submit. `now_ms` is only used to resolve a `Retry-After` that is a date."""
    if not exchange.complete or exchange.status is None:
        if exchange.sent is Sent.BODY:
            return Outcome(Verdict.UNKNOWN, exchange.failure or "incomplete")
        return Outcome(Verdict.NOT_SENT, exchange.failure or "not_sent")
    if HTTPStatus.OK <= exchange.status < HTTPStatus.MULTIPLE_CHOICES:
        return _judge_success(exchange.body)
    return _judge_refusal(exchange.status, exchange, now_ms)


def _judge_success(body: bytes) -> Outcome:
    document = _object(body)
    if document is None:
        return Outcome(Verdict.UNKNOWN, "malformed")
    upstream_request_id = document.get("request_id")
    usable = isinstance(upstream_request_id, str) and is_safe_id(upstream_request_id)
    if document.get("error_code") not in _NO_ERROR:
        words = _error_details(document)
        if usable or words.code is None:  # it says both success and failure, or nothing that can be read
            return Outcome(Verdict.UNKNOWN, "error_code_in_doubt", words=words)
        return Outcome(_verdict_of_code(words.code), "error_code_in_success", words=words)
    if not usable:
        return Outcome(Verdict.UNKNOWN, "no_usable_id")
    return Outcome(Verdict.ACCEPTED, "accepted", upstream_request_id=upstream_request_id)


def _judge_refusal(status: int, exchange: Exchange, now_ms: int) -> Outcome:
    reason = f"http_{status}"
    words = _error_details(_object(exchange.body))
    retry_after_s = parse_retry_after(exchange.headers.get("retry-after"), now_ms=now_ms)
    announced = status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after_s is not None
    if status == HTTPStatus.TOO_MANY_REQUESTS or announced:
        return Outcome(Verdict.BUSY, reason, retry_after_s=retry_after_s, words=words)
    if status in _CREDENTIAL_STATUSES or (status in _INPUT_STATUSES and words.code in _CREDENTIAL_CODES):
        return Outcome(Verdict.REJECTED_CREDENTIAL, reason, words=words)
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    if status in _UNSERVED_STATUSES or is_redirect:
        return Outcome(Verdict.REJECTED_UNSERVED, reason, words=words)
    if status in _INPUT_STATUSES:
        return Outcome(_verdict_of_code(words.code), reason, words=words)
    return Outcome(Verdict.UNKNOWN, reason, words=words)


def _verdict_of_code(code: int | None) -> Verdict:
    if code in _CREDENTIAL_CODES:
        return Verdict.REJECTED_CREDENTIAL
    if code in _UNSERVED_CODES:
        return Verdict.REJECTED_UNSERVED
    return Verdict.REJECTED_INPUT


class Seen(StrEnum):
    """What one poll of a job, or one cancel, showed."""

    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    FINISHED = "finished"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_CANCELLABLE = "not_cancellable"
    GONE = "gone"
    CREDENTIAL_REFUSED = "credential_refused"
    UNUSABLE = "unusable"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"


INCONCLUSIVE = frozenset({Seen.CREDENTIAL_REFUSED, Seen.UNUSABLE, Seen.TIMED_OUT, Seen.UNREACHABLE})
"""Observations that say nothing about the job."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one poll of a job, or one cancel, showed, with what belongs to it.

    `output` (an object) is set when the job succeeded, `error` (any JSON value) when it failed, `cost_usd`
    where RunComfy named a cost. `unknown_word` is a status that is documented nowhere.
    """

    seen: Seen
    reason: str = ""
    queue_position: int | None = None
    output: dict[str, Any] | None = None
    error: Any = None
    cost_usd: float | None = None
    unknown_status: str | None = None


# Both routes accept every spelling seen anywhere: it is not documented which of them uses which.
_SEEN_OF_STATUS = {
    "in_queue": Seen.IN_QUEUE,
    "in_progress": Seen.IN_PROGRESS,
    # RunComfy's own ComfyUI nodes also wait on these four.
    "pending": Seen.IN_QUEUE,
    "waiting": Seen.IN_QUEUE,
    "starting": Seen.IN_PROGRESS,
    "processing": Seen.IN_PROGRESS,
    "completed": Seen.FINISHED,
    "succeeded": Seen.FINISHED,
    "failed": Seen.FINISHED,
    "cancelled": Seen.CANCELLED,
    "canceled": Seen.CANCELLED,
}


def observe_status(exchange: Exchange) -> Observation:
    """Returns what an answer of the status route shows. `FINISHED` says nothing about success."""
    document, blind = _document_or_failure(exchange)
    if document is None:
        return blind
    word = document.get("status")
    if not isinstance(word, str):
        return Observation(Seen.UNUSABLE, "no_status")
    seen = _SEEN_OF_STATUS.get(word.lower())
    if seen is None:  # an unknown word is taken for running, never for a failure
        return Observation(Seen.IN_PROGRESS, "unknown_word", unknown_status=word[:60])
    position = document.get("queue_position")
    if (
        seen is not Seen.IN_QUEUE
        or isinstance(position, bool)
        or not isinstance(position, int)
        or not 0 <= position < 2**31
    ):
        position = None
    return Observation(seen, word.lower(), queue_position=position)


def observe_result(exchange: Exchange) -> Observation:
    """Returns what an answer of the result route shows; only this route tells success from failure."""
    document, blind = _document_or_failure(exchange)
    if document is None:
        return blind
    word = document.get("status")
    word = word.lower() if isinstance(word, str) else ""
    cost_usd = _cost(document.get("cost"))
    if word in {"succeeded", "completed"}:
        output = document.get("output")
        if not isinstance(output, dict) or not output:
            return Observation(Seen.UNUSABLE, "succeeded_without_output")
        return Observation(Seen.SUCCEEDED, word, output=output, cost_usd=cost_usd)
    if word == "failed":
        return Observation(Seen.FAILED, word, error=document.get("error"), cost_usd=cost_usd)
    seen = _SEEN_OF_STATUS.get(word)
    if seen is None:
        return Observation(Seen.IN_PROGRESS, "unknown_word", unknown_status=word[:60] or "(none)")
    return Observation(seen, word)


def observe_cancel(exchange: Exchange) -> Observation:
    """Returns what an answer to a cancel shows."""
    document, blind = _document_or_failure(exchange)
    if document is None:
        return blind
    match document.get("outcome"):
        case "cancelled" | "canceled":
            return Observation(Seen.CANCELLED, "cancelled")
        case "not_cancellable":
            return Observation(Seen.NOT_CANCELLABLE, "not_cancellable")
        case _:
            return Observation(Seen.UNUSABLE, "no_outcome")


def _document_or_failure(exchange: Exchange) -> tuple[dict[str, Any] | None, Observation]:
    """Returns the document of a successful answer, or None and what the failed call shows."""
    if not exchange.complete or exchange.status is None:
        kind = Seen.TIMED_OUT if exchange.failure == "timeout" else Seen.UNREACHABLE
        return None, Observation(kind, exchange.failure)
    document = _object(exchange.body)
    if exchange.status in {200, 201, 202} and document is not None and document.get("error_code") is None:
        return document, Observation(Seen.UNUSABLE)
    code = _error_details(document).code
    reason = f"http_{exchange.status}"
    if exchange.status == HTTPStatus.NOT_FOUND or code == _NOT_FOUND_CODE:
        return None, Observation(Seen.GONE, reason)
    if exchange.status in _CREDENTIAL_STATUSES or code in _CREDENTIAL_CODES:
        return None, Observation(Seen.CREDENTIAL_REFUSED, reason)
    return None, Observation(Seen.UNUSABLE, reason if exchange.status != HTTPStatus.OK else "malformed")


def parse_retry_after(value: str | None, *, now_ms: int) -> int | None:
    """Returns the seconds of a `Retry-After`, 0 to a day; None where it is not valid.

    Its value is a delay or a date (RFC 9110).
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(_MAX_RETRY_AFTER_S, int(text[:9]))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delay_s = -(-(int(moment.timestamp() * 1000) - now_ms) // 1000)
    return max(0, min(delay_s, _MAX_RETRY_AFTER_S))


def evidence(exchange: Exchange, reason: str, redact: Callable[[str], str]) -> dict[str, Any]:
    """Returns what to keep of an exchange for the operator.

    Of the answer it keeps the first EVIDENCE_LENGTH characters, without our secrets.
    """
    return {
        "reason": reason,
        "sent": exchange.sent,
        "status": exchange.status,
        "failure": exchange.failure,
        # Redacted before it is cut: half a secret would not be recognised.
        "body": redact(exchange.body.decode("utf-8", "replace")).replace("\0", "\ufffd")[:EVIDENCE_LENGTH],
    }


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and _is_shallow(document) else None


def _is_shallow(document: dict[str, Any]) -> bool:
    """Returns whether it is nested less deeply than encoding and decoding it again can bear."""
    level: list[Any] = [document]
    for _ in range(_MAX_LEVELS):
        level = [
            member
            for value in level
            if isinstance(value, dict | list)
            for member in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return True
    return False


def _error_details(document: dict[str, Any] | None) -> ErrorDetails:
    """Returns the error details of an answer, in any of the shapes that RunComfy's clients handle."""
    if document is None:
        return ErrorDetails()
    code = document.get("error_code")
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:12])
    if isinstance(code, bool) or not isinstance(code, int):
        code = None
    message = ""
    for name in ("error_message", "message", "error", "detail"):
        if isinstance(document.get(name), str):
            message = document[name][:_MAX_MESSAGE_LENGTH]
            break
    return ErrorDetails(code, message, _detail(document.get("detail")))


def _detail(value: Any) -> tuple[tuple[tuple[str | int, ...], str], ...]:
    if not isinstance(value, list):
        return ()
    entries = []
    for entry in value[:50]:
        if isinstance(entry, dict) and isinstance(entry.get("msg"), str):
            location = entry.get("loc")
            parts = location if isinstance(location, list) else []
            path = tuple(part for part in parts if isinstance(part, str | int))
            entries.append((path[1:] if path[:1] == ("body",) else path, entry["msg"][:_MAX_MESSAGE_LENGTH]))
    return tuple(entries)


def _cost(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return float(value)
