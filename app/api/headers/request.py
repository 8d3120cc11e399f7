"""What a request's headers ask for.

`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) makes a submit safe to repeat;
`Reelgate-Start-Deadline` says when a request is to be cancelled that has not started; `Reelgate-Webhook`
names the webhook endpoint that hears of a request; `Reelgate-Keep-Output` says for how long copies of its
output may be kept; and `Prefer: wait=N, handling=strict` (RFC 7240), or `?wait=N`, says how to answer.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request

from app.api.connection import left
from app.auth.callers import Caller
from app.auth.principal import Principal, TokenProblem
from app.errors import INVALID_IDEMPOTENCY_KEY, INVALID_PARAMETER, FieldError, Problem
from app.gateway import Gateway
from app.generations.following.watch import StreamOwner
from app.generations.problems import WEBHOOK, unknown_webhook
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.ids import is_id
from app.webhooks.kinds import ENDPOINT

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
MAX_KEY_LENGTH: Final = 255
REPLAYED: Final = {"Idempotent-Replayed": "true"}
START_DEADLINE: Final = "Reelgate-Start-Deadline"
KEEP_OUTPUT: Final = "Reelgate-Keep-Output"
MAX_START_DEADLINE_S: Final = 30 * 86_400
APPLIED: Final = "Preference-Applied"
UNTIMED: Final = "untimed"
"""The name, in a request's state, of whether its answer was held for as long as its caller asked."""
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


class SubmitHeaders(NamedTuple):
    """What the headers of a submit say; the deadline is in milliseconds since 1970."""

    idempotency_key: str | None
    start_deadline_ms: int | None
    webhook_endpoint_id: str | None
    keep_output_s: int | None


_NOTHING_ASKED: Final = SubmitHeaders(None, None, None, None)
_ASKING: Final = frozenset(
    name.lower().encode() for name in (IDEMPOTENCY_KEY, START_DEADLINE, WEBHOOK, KEEP_OUTPUT)
)


def submit_headers_of(headers: Headers, clock: Clock) -> SubmitHeaders:
    """Returns what the headers of a submit say, with None for those that were not sent.

    `"abc"` (a structured field string) and `abc` are the same Idempotency-Key. The deadline is sent as
    seconds from now, or as a date in the format of HTTP or RFC 3339.

    Raises:
        Problem: INVALID_IDEMPOTENCY_KEY; INVALID_PARAMETER, where the deadline has another form, or is not
            between now and `MAX_START_DEADLINE_S` seconds from now, or the webhook is no endpoint's id, or
            the time for copies is no number of seconds.

    """
    if _ASKING.isdisjoint([name for name, _ in headers.raw]):
        return _NOTHING_ASKED
    deadlines, webhooks = headers.getlist(START_DEADLINE), headers.getlist(WEBHOOK)
    times = headers.getlist(KEEP_OUTPUT)
    return SubmitHeaders(
        idempotency_key_of(headers),
        _deadline_ms(deadlines, clock) if deadlines else None,
        _webhook(webhooks) if webhooks else None,
        _keep_s(times) if times else None,
    )


def idempotency_key_of(headers: Headers) -> str | None:
    """Returns the Idempotency-Key, in quotes or not; None where none was sent.

    Raises:
        Problem: INVALID_IDEMPOTENCY_KEY.

    """
    keys = headers.getlist(IDEMPOTENCY_KEY)
    return _key(keys) if keys else None


def _webhook(values: list[str]) -> str:
    if len(values) > 1:
        raise unknown_webhook("was sent more than once")
    text = values[0].strip()
    if "://" in text:
        raise unknown_webhook(
            "is an address. Messages are sent only to registered endpoints, since each has a secret to verify"
            " messages with: register the address by POST /v1/webhooks/endpoints, and name its id"
        )
    if not (text.startswith(ENDPOINT) and is_id(text.removeprefix(ENDPOINT))):
        raise unknown_webhook("is not the id of a webhook endpoint, such as ep_0193…")
    return text


def _keep_s(values: list[str]) -> int:
    if len(values) > 1 or not _SECONDS.fullmatch(values[0].strip()):
        why = "is not a whole number of seconds" if len(values) == 1 else "was sent more than once"
        error = FieldError(f"#/header/{KEEP_OUTPUT}", "seconds", why)
        raise Problem(INVALID_PARAMETER, f"The {KEEP_OUTPUT} {why}.", errors=[error])
    return int(values[0])


def caller_of(request: Request, gateway: Gateway) -> Caller:
    """Returns what is kept of who sent a request."""
    scope = request.scope
    peer = scope.get("client")
    return gateway.access.callers.of(None if peer is None else peer[0], scope["headers"])


def _key(values: list[str]) -> str:
    if len(values) > 1:
        raise _invalid_key("was sent more than once")
    text = values[0].strip()
    if text.startswith('"'):
        text = _unquote(text)
    if not 1 <= len(text) <= MAX_KEY_LENGTH:
        raise _invalid_key(f"has {len(text)} characters; 1 to {MAX_KEY_LENGTH} are allowed")
    if not all(" " <= character <= "~" for character in text):
        raise _invalid_key("may contain only printable ASCII characters")
    return text


def _unquote(text: str) -> str:
    """Returns the content of a structured field string (RFC 8941); a backslash escapes itself and quotes."""
    if len(text) < 2 or not text.endswith('"'):  # noqa: PLR2004 - the two quotes
        raise _invalid_key("starts with a quote but does not end with one")
    content, escaped = "", False
    for character in text[1:-1]:
        if escaped and character not in '"\\':
            raise _invalid_key("has a backslash before a character that must not be escaped")
        if not escaped and character == '"':
            raise _invalid_key("has a quote inside its quotes")
        escaped = not escaped and character == "\\"
        content += "" if escaped else character
    if escaped:
        raise _invalid_key("ends in the middle of an escape")
    return content


def _invalid_key(why: str) -> Problem:
    return Problem(INVALID_IDEMPOTENCY_KEY, f"The {IDEMPOTENCY_KEY} {why}.")


def _deadline_ms(values: list[str], clock: Clock) -> int:
    if len(values) > 1:
        raise _invalid_deadline("was sent more than once")
    text, now_ms = values[0].strip(), clock.now_ms()
    at_ms = now_ms + int(text) * 1000 if _SECONDS.fullmatch(text) else _moment_ms(text)
    if at_ms is None:
        raise _invalid_deadline(
            "is neither a number of seconds nor a date such as `Thu, 26 Nov 2026 12:00:00 GMT`"
        )
    if at_ms <= now_ms:
        raise _invalid_deadline("is not in the future")
    if at_ms > now_ms + MAX_START_DEADLINE_S * 1000:
        raise _invalid_deadline(f"is more than {MAX_START_DEADLINE_S} seconds away")
    return at_ms


def _moment_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
        return None if moment.tzinfo is None else int(moment.timestamp() * 1000)  # no zone: ambiguous
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _invalid_deadline(why: str) -> Problem:
    error = FieldError(f"#/header/{START_DEADLINE}", "start_deadline", why)
    return Problem(INVALID_PARAMETER, f"The {START_DEADLINE} {why}.", errors=[error])


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences that are granted.

    `wait_s` is the time for which a response may be held. `strict` asks for an error instead of a success
    where nothing was done. `headers` are the response headers that name the members of `Prefer` that are
    granted.
    """

    wait_s: int = 0
    strict: bool = False
    headers: dict[str, str] = field(default_factory=dict)


_NO_PREFERENCES: Final = Preferences()


def preferences_of(request: Request, gateway: Gateway) -> Preferences:
    """Returns the caller's preferences, within what this gateway grants; a malformed `Prefer` is ignored.

    Raises:
        Problem: INVALID_PARAMETER, for a `wait` in the query that is no number.

    """
    if not request.scope["query_string"] and "prefer" not in request.headers:
        return _NO_PREFERENCES
    members: dict[str, str] = {}
    for member in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = member.partition(";")[0].partition("=")
        members.setdefault(name.strip().lower(), value.strip().strip('"').lower())
    applied = []
    wait_s = 0
    max_s = gateway.settings.max_wait_s
    asked = request.query_params.get("wait")
    if asked is not None:  # the query takes precedence over the header
        if not _SECONDS.fullmatch(asked):
            error = FieldError("#/query/wait", "wait", "is not a whole number of seconds")
            raise Problem(INVALID_PARAMETER, "`wait` is not a whole number of seconds.", errors=[error])
        wait_s = min(int(asked), max_s)
    elif _SECONDS.fullmatch(members.get("wait", "")):
        wait_s = min(int(members["wait"]), max_s)
        applied.append(f"wait={wait_s}")
    if strict := members.get("handling") == "strict":
        applied.append("handling=strict")
    return Preferences(wait_s, strict, {APPLIED: ", ".join(applied)} if applied else {})


def stream_owner_of(principal: Principal) -> StreamOwner:
    """Returns the owner by whom streams and held responses are counted: the tenant, and the client token."""
    return StreamOwner(principal.tenant_id, principal.token.token_id if principal.token else None)


async def wait_for(
    request: Request,
    principal: Principal,
    generation: Generation,
    wait_s: int,
    done: Callable[[Generation], bool],
) -> Generation:
    """Waits up to `wait_s` seconds until the generation is `done`; returns it as it is then.

    It does not wait where the caller holds as many streams and responses as it may, or where the server is
    stopping; and no longer than the caller stays connected.

    Raises:
        Problem: INVALID_API_KEY, INVALID_CLIENT_TOKEN, EXPIRED_CLIENT_TOKEN, as soon as the key or token has
            ended.

    """
    gateway: Gateway = request.app.state.gateway
    permits = gateway.access.permits
    watch, owner = gateway.following.watch, stream_owner_of(principal)
    if not wait_s or generation.terminal or done(generation) or watch.full(owner):
        return generation
    request.scope.setdefault("state", {})[UNTIMED] = True
    bell = asyncio.Event()
    leaving = asyncio.ensure_future(left(request))
    leaving.add_done_callback(lambda _: bell.set())
    try:
        with watch.place(owner), permits.held(principal, bell) as permit:
            found = await watch.until(
                generation,
                done,
                within_s=wait_s,
                bell=bell,
                given_up=lambda: permit.problem is not None or leaving.done(),
            )
            ended = await permits.judge(permit)
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    if ended is not None:
        raise _of_request(ended, generation.id)
    return found


def _of_request(ended: Problem, request_id: str) -> Problem:
    """Returns the refusal of a caller who may have submitted the request just now, and so is told its id."""
    own = Problem(ended.fault, ended.detail)
    if isinstance(ended, TokenProblem):
        own = TokenProblem(ended.fault, ended.detail, ended.token_id)
    own.extra["request_id"] = request_id
    return own
