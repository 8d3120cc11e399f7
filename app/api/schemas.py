"""The documents on the wire, and the only place that knows their names."""

from collections.abc import Sequence
from typing import Any

from app.auth.client_tokens import ClientToken, Refusal
from app.auth.principal import Principal
from app.catalog.model import Model
from app.errors import Fault
from app.generations.events import Event
from app.generations.lifecycle import RESULT_NAMES, STATUS_NAMES, TERMINAL, State
from app.generations.queue.rows import TenantQueue
from app.generations.store import Generation
from app.generations.submit.inspection import Inspection
from app.kit.clock import iso
from app.quotas.ledger import Charge
from app.quotas.limits import MICROCREDITS, Account, Standing, Usage
from app.quotas.refusal import document as limit
from app.quotas.refusal import refused, shown_to


def _address(generation: Generation, base_url: str, what: str) -> str:
    return f"{base_url}/v1/requests/{generation.id}/{what}"


def submitted(generation: Generation, base_url: str) -> dict[str, Any]:
    """RunComfy's answer to a submit."""
    return {
        "request_id": generation.id,
        "status_url": _address(generation, base_url, "status"),
        "result_url": _address(generation, base_url, "result"),
        "cancel_url": _address(generation, base_url, "cancel"),
    }


def status(generation: Generation, base_url: str) -> dict[str, Any]:
    """RunComfy's status: `completed` means finished, not succeeded."""
    word = STATUS_NAMES[generation.state]
    document: dict[str, Any] = {"request_id": generation.id, "status": word}
    if word == "in_queue" and generation.queue_position is not None:
        document["queue_position"] = generation.queue_position
    document["status_url"] = _address(generation, base_url, "status")
    document["result_url"] = _address(generation, base_url, "result")
    return document


def result(generation: Generation, *, include_cost: bool) -> dict[str, Any]:
    """RunComfy's result: `output` only on success, `error` only on failure, `cost` in USD only on demand."""
    word = RESULT_NAMES[generation.state]
    document: dict[str, Any] = {"request_id": generation.id, "status": word}
    if word == "succeeded":
        document["output"] = generation.output
    if word == "failed":
        document["error"] = generation.error or "RunComfy gave no reason."
    document["created_at"] = iso(generation.created_at_ms)
    if generation.finished_at_ms is not None:
        document["finished_at"] = iso(generation.finished_at_ms)
    cost = _cost_usd(generation)
    if include_cost and cost is not None:
        document["cost"] = cost
    return document


def _cost_usd(generation: Generation) -> float | None:
    """What the tenant pays, in RunComfy's unit; None while that is open. RunComfy's own is the operator's."""
    match generation.charge:
        case Charge.SETTLED:
            return (generation.price_microcredits or 0) / MICROCREDITS
        case Charge.REFUNDED:
            return 0.0
        case _:
            return None


def cancelled(generation: Generation) -> dict[str, Any]:
    """RunComfy's answer to a cancel: `cancelled` exactly when it is."""
    outcome = "cancelled" if generation.state is State.CANCELLED else "not_cancellable"
    return {"request_id": generation.id, "status": STATUS_NAMES[generation.state], "outcome": outcome}


def summary(generation: Generation, base_url: str) -> dict[str, Any]:
    """A generation in a listing."""
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
        "charge": generation.charge,
        "created_at": iso(generation.created_at_ms),
        "changed_at": iso(generation.changed_at_ms),
        "finished_at": _iso_or_none(generation.finished_at_ms),
    }


def event(one: Event) -> dict[str, Any]:
    """One change of a generation's state, in an event stream."""
    return {
        "request_id": one.generation_id,
        "number": one.number,
        "version": one.version,
        "state": one.state,
        "status": STATUS_NAMES[one.state],
        "at": iso(one.at_ms),
        "reason": one.reason,
        "final": one.state in TERMINAL,
    }


def record(
    generation: Generation, events: Sequence[Event], base_url: str, *, expires_at_ms: int | None
) -> dict[str, Any]:
    """Everything that we keep of a generation and its tenant may see; `expires_at_ms` is of its output."""
    return {
        **summary(generation, base_url),
        "version": generation.version,
        "input": generation.input,
        "media": generation.media,
        "output": generation.output,
        "error": generation.error,
        "queue_position": generation.queue_position,
        "price_version": generation.price_version,
        "sent_at": _iso_or_none(generation.sent_at_ms),
        "start_deadline": _iso_or_none(generation.start_deadline_ms),
        "estimated_start_at": _iso_or_none(generation.starts_at_ms),
        "started_at": _iso_or_none(generation.started_at_ms),
        "output_expires_at": None if generation.output is None else _iso_or_none(expires_at_ms),
        "output_erased_at": _iso_or_none(generation.erased_at_ms),
        "checked_at": _iso_or_none(generation.polled_at_ms),
        "idempotency_key": generation.idempotency_key,
        "trace_id": generation.trace_id,
        "events": [
            {
                "version": one.version,
                "number": one.number,
                "state": one.state,
                "at": iso(one.at_ms),
                "reason": one.reason,
            }
            for one in events
        ],
    }


def quota(
    principal: Principal, account: Account, reads: Standing | None, waiting: TenantQueue, *, queueable: bool
) -> dict[str, Any]:
    """Every limit and every running window of a key and its tenant; of a client token its own alone."""
    to_client = principal.token is not None
    standings = [*account.standings(), *([] if reads is None else [reads])]
    queue = {
        "queued": waiting.jobs,
        "max_queued": waiting.most,
        "weight": waiting.weight,
    }
    return {
        "tenant": principal.tenant_name,
        "kid": principal.root_kid,
        "token_id": principal.token.token_id if principal.token else None,
        "end_user": principal.end_user,
        "mode": principal.mode,
        "at": iso(account.now_ms),
        "time_zone": account.time_zone,
        "limits": [limit(one) for one in shown_to(standings, to_client=to_client)],
        "queue": {"queueable": queueable, **({} if to_client else queue), "paused": waiting.paused},
        "usage": [
            {
                "holder": scope.holder,
                "model_id": scope.model_id or None,
                "period": period,
                "held_generations": usage.held_generations,
                "spent_generations": usage.spent_generations,
                "held_microcredits": usage.held_microcredits,
                "spent_microcredits": usage.spent_microcredits,
                "added_microcredits": usage.added_microcredits,
            }
            for (scope, period), usage in sorted(account.usage.items())
            if scope.is_of_client or not to_client
        ],
    }


def quote(
    model: Model,
    price: int | None,
    inspection: Inspection,
    standings: Sequence[Standing],
    *,
    queueable: bool,
    would_queue: bool,
    to_client: bool = False,
) -> dict[str, Any]:
    """What a submit would meet. Without a price the limits are shown and not judged."""
    refusal, errors = refused(standings, queueable=queueable, to_client=to_client), inspection.errors
    return {
        "model_id": model.model_id,
        "price_microcredits": price,
        "price_version": model.pricing.version,
        "admissible": not errors and refusal is None,
        "would_queue": would_queue,
        "errors": [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in errors],
        "media": inspection.media,
        "limits": [limit(one) for one in shown_to(standings, to_client=to_client)],
        "refusal": None
        if refusal is None
        else {
            "code": refusal.fault.code,
            "detail": refusal.detail,
            "retry_after_s": refusal.retry_after_s,
            "violated-policies": refusal.extra["violated-policies"],
        },
    }


def client_token(token: ClientToken, now_ms: int) -> dict[str, Any]:
    """A client token's record, without the token."""
    return {
        "token_id": token.token_id,
        "state": token.state(now_ms),
        "kid": token.kid,
        "mode": token.mode,
        "scopes": sorted(token.scopes),
        "models": _sorted_or_none(token.models),
        "bounds": token.bounds,
        "max_generations": token.max_generations,
        "max_microcredits": token.max_microcredits,
        "origins": _sorted_or_none(token.origins),
        "end_user": token.end_user,
        "visibility": token.visibility,
        "request_id": token.request_id,
        "created_at": iso(token.created_at_ms),
        "expires_at": iso(token.ends_at_ms),
        "revoked_at": _iso_or_none(token.revoked_at_ms),
        "last_used_at": _iso_or_none(token.last_used_at_ms),
        "refusals": token.refusals,
    }


def client_token_in_full(
    token: ClientToken, usage: Usage, request_ids: Sequence[str], refusals: Sequence[Refusal], now_ms: int
) -> dict[str, Any]:
    """A client token's record with what it was used for, and what it was refused lately."""
    return {
        **client_token(token, now_ms),
        "usage": {
            "held_generations": usage.held_generations,
            "spent_generations": usage.spent_generations,
            "held_microcredits": usage.held_microcredits,
            "spent_microcredits": usage.spent_microcredits,
        },
        "newest_requests": list(request_ids),
        "newest_refusals": [
            {
                "at": iso(one.at_ms),
                "code": one.code,
                "detail": one.detail,
                "call": one.call,
                "origin": one.origin,
                "trace_id": one.trace_id,
            }
            for one in refusals
        ],
    }


def problem_kind(fault: Fault, address: str) -> dict[str, Any]:
    """An entry of the error catalogue."""
    return {
        "type": address,
        "title": fault.title,
        "status": fault.status,
        "code": fault.code,
        "retryable": fault.retryable,
        "remedy": fault.remedy,
    }


def _sorted_or_none(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _iso_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)
