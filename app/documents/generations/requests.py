"""Requests: RunComfy's answers about them, and the gateway's own records of them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from app.auth.keys import Mode
from app.documents.fields import CurrentStatus, Id, Moment, Url, iso_or_none
from app.documents.generations.assets import Asset, asset
from app.documents.generations.events import RecordedEvent, recorded_event
from app.documents.schema import keywords
from app.generations import events as event_rows
from app.generations.lifecycle import RESULT_NAMES, STATUS_NAMES, State
from app.generations.store import Generation
from app.kit.clock import iso
from app.mirror import rows as asset_rows
from app.quotas.amounts import MICROCREDITS
from app.quotas.balances.ledger import Charge

Output = Annotated[
    dict[str, Any] | None,
    keywords(
        "RunComfy's output, with RunComfy's own URLs: any of `image`, `video`, `audio` (a URL) and"
        " `images`, `videos` (lists of URLs)."
    ),
]
Error = Annotated[
    Any,
    keywords(
        "Why the request failed, in RunComfy's own form: a string, an object or a list. Where Reelgate"
        " itself ended it, an object with `code` and `message`."
    ),
]


class Submitted(TypedDict):
    """RunComfy's answer to a submit."""

    request_id: Id
    status_url: Url
    result_url: Url
    cancel_url: Url


def submitted(generation: Generation, base_url: str) -> Submitted:
    """Returns the id and the URLs of a request."""
    return {
        "request_id": generation.id,
        "status_url": _address(generation, base_url, "status"),
        "result_url": _address(generation, base_url, "result"),
        "cancel_url": _address(generation, base_url, "cancel"),
    }


class Status(TypedDict):
    """RunComfy's status: `completed` means finished, not succeeded."""

    request_id: Id
    status: CurrentStatus
    queue_position: NotRequired[
        Annotated[int, keywords("How many requests are ahead of it; only in `in_queue`.")]
    ]
    status_url: Url
    result_url: Url


def status(generation: Generation, base_url: str) -> Status:
    """Returns the status of a request."""
    word, position = STATUS_NAMES[generation.state], generation.queue_position
    status_url = _address(generation, base_url, "status")
    result_url = _address(generation, base_url, "result")
    if word == "in_queue" and position is not None:
        return {
            "request_id": generation.id,
            "status": word,
            "queue_position": position,
            "status_url": status_url,
            "result_url": result_url,
        }
    return {
        "request_id": generation.id,
        "status": word,
        "status_url": status_url,
        "result_url": result_url,
    }


class _Named(TypedDict):
    request_id: Id
    status: Annotated[str, keywords(enum=sorted(set(RESULT_NAMES.values())))]


class _Outcome(TypedDict, total=False):
    output: Output
    error: Error


class _Closing(TypedDict):
    created_at: Moment
    finished_at: NotRequired[Moment]
    cost: NotRequired[Annotated[float, keywords("What the tenant pays, in US dollars, once that is final.")]]


class Result(_Named, _Outcome, _Closing):
    """RunComfy's result: `output` on success alone, `error` on failure alone.

    In three parts, so that what is not always there keeps its place among the rest.
    """


def result(generation: Generation, *, include_cost: bool) -> Result:
    """Returns the result of a request; its cost in US dollars is in it only where it is asked for."""
    return {
        "request_id": generation.id,
        "status": RESULT_NAMES[generation.state],
        **_outcome(generation),
        **_closing(generation, include_cost=include_cost),
    }


def _outcome(generation: Generation) -> _Outcome:
    match RESULT_NAMES[generation.state]:
        case "succeeded":
            return {"output": generation.output}
        case "failed":
            return {"error": generation.error or "RunComfy gave no reason."}
        case _:
            return {}


def _closing(generation: Generation, *, include_cost: bool) -> _Closing:
    document: _Closing = {"created_at": iso(generation.created_at_ms)}
    if generation.finished_at_ms is not None:
        document["finished_at"] = iso(generation.finished_at_ms)
    cost = _cost_usd(generation) if include_cost else None
    if cost is not None:
        document["cost"] = cost
    return document


def _cost_usd(generation: Generation) -> float | None:
    """Returns what the tenant pays, in US dollars as RunComfy states costs; None until its hold has ended.

    RunComfy's own cost is for the operator alone.
    """
    match generation.charge:
        case Charge.SETTLED:
            return generation.charged_microcredits / MICROCREDITS
        case Charge.REFUNDED:
            return 0.0
        case _:
            return None


class Cancelled(TypedDict):
    """RunComfy's answer to a cancel."""

    request_id: Id
    status: CurrentStatus
    outcome: Literal["cancelled", "not_cancellable"]


def cancelled(generation: Generation) -> Cancelled:
    """Returns the outcome of a cancel, which is `cancelled` exactly where the request is."""
    return {
        "request_id": generation.id,
        "status": STATUS_NAMES[generation.state],
        "outcome": "cancelled" if generation.state is State.CANCELLED else "not_cancellable",
    }


class RequestSummary(Submitted):
    """A request in a list."""

    status: CurrentStatus
    state: State
    model_id: str
    mode: Annotated[Mode, keywords("The mode of the key that made it.")]
    kid: Annotated[str, keywords("The API key that made it.")]
    token_id: Annotated[str | None, keywords("The client token that made it, if any.")]
    end_user: Annotated[str | None, keywords("The end user for whom that token was made.")]
    price_microcredits: int | None
    repriced_microcredits: Annotated[
        int | None, keywords("What it costs since its price was corrected; null: it was not corrected.")
    ]
    output_seconds: Annotated[int, keywords("The seconds of output that it ordered, as limits count them.")]
    charge: Annotated[
        Charge | None,
        keywords("What became of its price: held while the request is under way, then settled or refunded."),
    ]
    created_at: Moment
    changed_at: Moment
    finished_at: Moment | None


def summary(generation: Generation, base_url: str) -> RequestSummary:
    """Returns the summary of a request, which lists show."""
    return {
        **submitted(generation, base_url),
        "status": STATUS_NAMES[generation.state],
        "state": generation.state,
        "model_id": generation.model_id,
        "mode": generation.mode,
        "kid": generation.kid,
        "token_id": generation.token_id,
        "end_user": generation.end_user,
        "price_microcredits": generation.price_microcredits,
        "repriced_microcredits": generation.repriced_microcredits,
        "output_seconds": generation.output_seconds,
        "charge": generation.charge,
        "created_at": iso(generation.created_at_ms),
        "changed_at": iso(generation.changed_at_ms),
        "finished_at": iso_or_none(generation.finished_at_ms),
    }


class RequestPage(TypedDict):
    """A page of requests, newest first."""

    requests: list[RequestSummary]
    next_cursor: Annotated[str | None, keywords("The `cursor` of the next page; null on the last page.")]


def request_page(shown: Sequence[Generation], base_url: str, next_cursor: str | None) -> RequestPage:
    """Returns one page of requests; `next_cursor` is None on the last one."""
    return {"requests": [summary(one, base_url) for one in shown], "next_cursor": next_cursor}


class FileError(TypedDict):
    """One rule that a file breaks."""

    code: str
    detail: str


class File(TypedDict):
    """What inspection found out about a file of the input."""

    pointer: Annotated[str, keywords("The file's place in the input.")]
    type: Annotated[str | None, keywords("Its media type, by its first bytes; null: unknown.")]
    size_bytes: int | None
    width: Annotated[int | None, keywords("In pixels, as stored in the file.")]
    height: int | None
    errors: list[FileError]


Files = Annotated[
    list[File] | None, keywords("What the gateway knows of the input's files; null: they were not inspected.")
]


def files(seen: Sequence[Mapping[str, Any]] | None) -> list[File] | None:
    """Returns what `generations.submit.inspection` found out about the files and stored with the request."""
    if seen is None:
        return None
    return [
        {
            "pointer": one["pointer"],
            "type": one["type"],
            "size_bytes": one["size_bytes"],
            "width": one["width"],
            "height": one["height"],
            "errors": [{"code": error["code"], "detail": error["detail"]} for error in one["errors"]],
        }
        for one in seen
    ]


class Request(RequestSummary):
    """Everything that the gateway stores about a request and that its tenant may see."""

    version: Annotated[int, keywords("Grows by one with every change of state.")]
    input: Annotated[dict[str, Any], keywords("The input that the caller sent.")]
    media: Files
    output: Output
    error: Error
    queue_position: Annotated[
        int | None, keywords("How many requests are ahead of it, here and at RunComfy, as last known.")
    ]
    price_version: str | None
    sent_at: Annotated[Moment | None, keywords("When it was sent to RunComfy.")]
    start_deadline: Annotated[Moment | None, keywords("When it is cancelled if it has not started.")]
    estimated_start_at: Annotated[
        Moment | None, keywords("While it is queued, by how long jobs usually take; null: unknown.")
    ]
    started_at: Moment | None
    output_expires_at: Annotated[Moment | None, keywords("When the output will be erased.")]
    output_erased_at: Annotated[Moment | None, keywords("When the output was erased.")]
    checked_at: Annotated[Moment | None, keywords("When RunComfy was last polled.")]
    idempotency_key: str | None
    webhook_endpoint_id: Annotated[str | None, keywords("The webhook endpoint that its submit named.")]
    trace_id: str
    events: list[RecordedEvent]
    assets: Annotated[
        list[Asset], keywords("The copies of its output in the gateway's store; empty: it is not mirrored.")
    ]


def record(
    generation: Generation,
    events: Sequence[event_rows.Event],
    base_url: str,
    *,
    expires_at_ms: int | None,
    assets: Sequence[asset_rows.Asset] = (),
) -> Request:
    """Returns the full record; `expires_at_ms` is when its output will be erased."""
    output = generation.output
    return {
        **summary(generation, base_url),
        "version": generation.version,
        "input": generation.input,
        "media": files(generation.media),
        "output": output,
        "error": generation.error,
        "queue_position": generation.queue_position,
        "price_version": generation.price_version,
        "sent_at": iso_or_none(generation.sent_at_ms),
        "start_deadline": iso_or_none(generation.start_deadline_ms),
        "estimated_start_at": iso_or_none(generation.starts_at_ms),
        "started_at": iso_or_none(generation.started_at_ms),
        "output_expires_at": None if output is None else iso_or_none(expires_at_ms),
        "output_erased_at": iso_or_none(generation.erased_at_ms),
        "checked_at": iso_or_none(generation.polled_at_ms),
        "idempotency_key": generation.idempotency_key,
        "webhook_endpoint_id": generation.webhook_endpoint_id,
        "trace_id": generation.trace_id,
        "events": [recorded_event(one) for one in events],
        "assets": [asset(one, base_url) for one in assets],
    }


def _address(generation: Generation, base_url: str, what: str) -> str:
    return f"{base_url}/v1/requests/{generation.id}/{what}"
