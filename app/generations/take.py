"""Taking the next job that waits, to be sent: one transaction, in which every limit is judged again."""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection

from app.auth.keys import Mode
from app.errors import Problem
from app.generations import intent, queue, store
from app.generations.advance import advance
from app.generations.fair import Turn
from app.generations.intent import Terms
from app.generations.lifecycle import State
from app.generations.store import Choice, Generation
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import Limit, Scope, scopes_of


class Nothing(StrEnum):
    """Why nothing was taken: the queue had changed; the tenant may send nothing now; or nobody may."""

    MOVED = "moved"
    KEPT_BACK = "kept_back"
    NO_ROOM = "no_room"


def turns(
    connection: Connection,
    mode: Mode,
    choices: Sequence[Choice],
    terms: Terms,
    *,
    now_ms: int,
    last: Turn | None = None,
) -> list[Turn]:
    """Whose turn it is, in order, those after `last`; nobody's where no credential has room."""
    found = queue.turns_after(connection, mode, last)
    return found if found and _has_room(connection, choices, terms, now_ms=now_ms) else []


def take(
    connection: Connection,
    mode: Mode,
    turn: Turn,
    choices: Sequence[Choice],
    terms: Terms,
    *,
    now_ms: int,
    lease_until_ms: int,
) -> Generation | Nothing:
    """Take the first of a tenant's jobs that may go now; it is `dispatching` then, with a lease.

    `turn` is as it was read before: where it is another one by now, somebody else was faster. A job that
    should have started by now is returned as `expired`.
    """
    account.hold_tenant(connection, turn.tenant_id)
    own = queue.turn_of(connection, turn.tenant_id, mode)
    if own is None or own.tag != turn.tag:
        return Nothing.MOVED
    chosen = _first_that_fits(connection, Owner(turn.tenant_id, mode), mode, terms, now_ms=now_ms)
    if chosen is None:
        return Nothing.KEPT_BACK
    if chosen.start_deadline_ms is not None and chosen.start_deadline_ms <= now_ms:
        return expire(connection, chosen.id, now_ms=now_ms) or Nothing.MOVED
    try:
        credential = intent.pick(connection, choices, terms, now_ms=now_ms)
    except Problem:
        return Nothing.NO_ROOM
    taken = advance(
        connection,
        chosen.id,
        State.DISPATCHING,
        reason="dispatched",
        now_ms=now_ms,
        credential=credential,
        sent_at_ms=now_ms,
        lease_until_ms=lease_until_ms,
    )
    if taken is None:
        return Nothing.MOVED
    queue.serve(connection, mode, own)
    return taken


def expire(connection: Connection, generation_id: str, *, now_ms: int) -> Generation | None:
    """End a job that waits and should have started by now; None where it waits no more."""
    return advance(
        connection,
        generation_id,
        State.EXPIRED,
        reason="start_deadline",
        now_ms=now_ms,
        error={"code": "expired", "message": "It had not started by its start deadline; nothing was sent."},
    )


def _has_room(connection: Connection, choices: Sequence[Choice], terms: Terms, *, now_ms: int) -> bool:
    since_ms = now_ms - terms.unknown_slot_ms
    return any(
        one.concurrency is None
        or store.live_of_credential(connection, one.name, unknown_since_ms=since_ms) < one.concurrency
        for one in choices
    )


def _first_that_fits(
    connection: Connection, owner: Owner, mode: Mode, terms: Terms, *, now_ms: int
) -> Generation | None:
    """The first that no limit of its tenant, key or model keeps back."""
    first = queue.head(connection, owner.tenant_id, mode)
    if first is None:
        queue.recount(connection, owner.tenant_id, mode)
        return None
    limits = account.in_flight_limits(connection, owner, terms.default_limits)
    if not limits:
        return first
    since_ms = now_ms - terms.unknown_slot_ms
    full = _full(limits, store.in_flight(connection, owner, unknown_since_ms=since_ms))
    if Scope() in full:
        return None
    if _fits(first, full):
        return first
    return next((one for one in queue.heads(connection, owner.tenant_id, mode) if _fits(one, full)), None)


def _full(limits: Sequence[Limit], in_flight: dict[Scope, int]) -> set[Scope]:
    """The scopes in which one more would be too many."""
    return {
        one.scope for one in limits if one.amount is not None and in_flight.get(one.scope, 0) >= one.amount
    }


def _fits(generation: Generation, full: set[Scope]) -> bool:
    return full.isdisjoint(scopes_of(generation.root_kid or "", generation.model_id))
