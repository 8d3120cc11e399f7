"""The problems that callers are told when a submit, a poll or a cancel does not end well."""

from typing import Any, Final
from urllib.parse import quote

from app.errors import (
    CATALOGUE,
    DISPATCH_PAUSED,
    FILE_GONE,
    INVALID_PARAMETER,
    OUTCOME_UNKNOWN,
    UPSTREAM_BUSY,
    UPSTREAM_CREDENTIAL_REFUSED,
    UPSTREAM_REJECTED,
    UPSTREAM_TIMEOUT,
    UPSTREAM_UNREACHABLE,
    UPSTREAM_UNSERVED,
    UPSTREAM_UNUSABLE,
    Fault,
    FieldError,
    Problem,
    ProblemExtra,
)
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.upstream.breaker import Health
from app.upstream.outcomes import Observation, Outcome, Seen, Verdict

WEBHOOK: Final = "Reelgate-Webhook"
_RETRY_AFTER_S = 5
_CREDENTIAL_RETRY_AFTER_S = 60

_OF_VERDICT: dict[Verdict, tuple[Fault, str]] = {
    Verdict.REJECTED_INPUT: (UPSTREAM_REJECTED, "RunComfy refused the input; no job was created."),
    Verdict.REJECTED_CREDENTIAL: (
        UPSTREAM_CREDENTIAL_REFUSED,
        "RunComfy refuses the gateway's credential or its balance; your API key is fine.",
    ),
    Verdict.REJECTED_UNSERVED: (UPSTREAM_UNSERVED, "RunComfy does not serve this model at this address."),
    Verdict.BUSY: (UPSTREAM_BUSY, "RunComfy accepts no more jobs at the moment; no job was created."),
    Verdict.NOT_SENT: (UPSTREAM_UNREACHABLE, "RunComfy could not be reached; nothing was sent."),
    Verdict.FILE_GONE: (
        FILE_GONE,
        "A file that the input refers to is not there any more; nothing was sent.",
    ),
}


_CREDENTIAL_REASONS = frozenset({"http_400", "http_401", "http_402", "http_403", "error_code_in_success"})
_BUSY_REASONS = frozenset({"http_429", "http_503"})
MAY_BE_SENT_AGAIN = frozenset(verdict for verdict, (fault, _) in _OF_VERDICT.items() if fault.retryable)
"""Verdicts that prove that no job exists, and that the next try may not meet again."""


def stored_error(outcome: Outcome) -> dict[str, Any]:
    """Returns the `error` to store with a rejected generation; `of_record` turns it into a problem."""
    fault, detail = _OF_VERDICT[outcome.verdict]
    error: dict[str, Any] = {"code": fault.code, "message": detail}
    if fault is UPSTREAM_REJECTED:
        error["upstream"] = {"error_code": outcome.words.code, "error_message": outcome.words.message}
        error["errors"] = [
            {"pointer": _pointer(path), "code": "upstream", "detail": message}
            for path, message in outcome.words.detail
        ]
    if fault is UPSTREAM_CREDENTIAL_REFUSED:
        error["retry_after_s"] = _CREDENTIAL_RETRY_AFTER_S
    elif fault.retryable:
        error["retry_after_s"] = max(1, outcome.retry_after_s or _RETRY_AFTER_S)
    return error


def of_record(generation: Generation) -> Problem | None:
    """Returns the problem that answers a submit whose generation is rejected, unknown or still being sent.

    None for any other generation.
    """
    if generation.state is State.UNKNOWN or generation.is_being_submitted:
        return unknown_outcome(generation.id)
    if generation.state is not State.REJECTED:
        return None
    error = generation.error
    fault = next(fault for fault in CATALOGUE if fault.code == error["code"])
    extra: ProblemExtra = {"request_id": generation.id}
    if "upstream" in error:
        extra["upstream"] = error["upstream"]
    return Problem(
        fault,
        error["message"],
        errors=[FieldError(**one) for one in error.get("errors", ())],
        retry_after_s=error.get("retry_after_s"),
        extra=extra,
    )


def unknown_outcome(generation_id: str) -> Problem:
    """Returns the problem for a job that was sent without proof of what became of it."""
    return Problem(
        OUTCOME_UNKNOWN,
        "The job was sent to RunComfy, but no complete answer came back, so it may exist."
        f" Follow it as request {generation_id}, and do not send it again.",
        extra={"request_id": generation_id},
    )


def of_inconclusive_poll(observation: Observation) -> Problem:
    """Returns the problem for an observation that says nothing about the job, where no row can answer."""
    match observation.seen:
        case Seen.CREDENTIAL_REFUSED:
            return Problem(
                UPSTREAM_CREDENTIAL_REFUSED,
                "RunComfy refuses the gateway's credential; your API key is fine.",
                retry_after_s=_CREDENTIAL_RETRY_AFTER_S,
            )
        case Seen.TIMED_OUT:
            return Problem(UPSTREAM_TIMEOUT, "RunComfy did not answer in time.", retry_after_s=_RETRY_AFTER_S)
        case Seen.UNREACHABLE:
            return Problem(
                UPSTREAM_UNREACHABLE, "RunComfy could not be reached.", retry_after_s=_RETRY_AFTER_S
            )
        case _:
            return Problem(
                UPSTREAM_UNUSABLE,
                "RunComfy sent a response that the gateway cannot use.",
                retry_after_s=_RETRY_AFTER_S,
            )


def credentials_paused(health: Health, retry_after_s: int) -> Problem:
    """Returns the problem for a submit while every credential is paused: nothing was recorded or sent.

    `health` is that of the credential that may be used again first, in `retry_after_s` seconds.
    """
    if health.reason in _CREDENTIAL_REASONS:
        fault, detail = _OF_VERDICT[Verdict.REJECTED_CREDENTIAL]
    elif health.reason in _BUSY_REASONS:
        fault, detail = _OF_VERDICT[Verdict.BUSY]
    else:
        fault, detail = _OF_VERDICT[Verdict.NOT_SENT]
    return Problem(fault, detail, retry_after_s=retry_after_s)


def upstream_full() -> Problem:
    """Returns the problem for a submit while every credential has its maximum of jobs in flight."""
    return Problem(
        UPSTREAM_BUSY,
        "The gateway has reached its limit of jobs at RunComfy; no job was created.",
        retry_after_s=_RETRY_AFTER_S,
    )


def dispatch_paused() -> Problem:
    """Returns the problem for a submit that is not queueable while the operator has paused dispatch."""
    return Problem(
        DISPATCH_PAUSED,
        "Sending to RunComfy is paused; no job was created.",
        retry_after_s=_CREDENTIAL_RETRY_AFTER_S,
    )


def maybe_accepted(generation_id: str) -> Problem:
    """Returns the problem for a queueable submit of which it is not known in time whether it was recorded."""
    return Problem(
        OUTCOME_UNKNOWN,
        f"The database did not answer in time, so request {generation_id} may have been accepted: read it;"
        " a 404 means that it was not. With an Idempotency-Key it is safe to repeat the submit.",
        extra={"request_id": generation_id},
    )


def _pointer(path: tuple[str | int, ...]) -> str:
    return "#" + "".join("/" + quote(str(part).replace("~", "~0").replace("/", "~1")) for part in path)


def unknown_webhook(why: str) -> Problem:
    """Returns the refusal of a submit that names a webhook endpoint which it cannot have."""
    error = FieldError(f"#/header/{WEBHOOK}", "webhook", why)
    return Problem(INVALID_PARAMETER, f"The {WEBHOOK} {why}.", errors=[error])
