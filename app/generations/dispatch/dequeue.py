"""Dequeuing the next generation to send: one transaction, in which every limit is checked again."""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, literal_column, select

from app.auth.keys import Mode
from app.db.schema.states import state_is
from app.db.schema.tables import generations
from app.errors import Problem
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.queue import decide
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.queue.eligible import first_eligible
from app.generations.queue.fair import Flow
from app.generations.store import Generation, with_unsent_input
from app.quotas import account
from app.upstream.credentials import Choice


class NotDequeued(StrEnum):
    """Why nothing was dequeued.

    `MOVED`: the queue has changed since it was read. `KEPT_BACK`: limits or locks hold up every generation of
    this tenant. `NO_ROOM`: no credential has room.
    """

    MOVED = "moved"
    HELD_UP = "kept_back"
    NO_ROOM = "no_room"


def flows(
    connection: Connection,
    mode: Mode,
    choices: Sequence[Choice],
    policy: SubmitPolicy,
    *,
    now_ms: int,
    last: Flow | None = None,
) -> list[Flow]:
    """Returns a page of flows in order of their turns, after `last`; none where no credential has room."""
    found = queue.flows_after(connection, mode, last)
    return found if found and decide.has_room(connection, choices, policy, now_ms=now_ms) else []


def dequeue(
    connection: Connection,
    mode: Mode,
    flow: Flow,
    choices: Sequence[Choice],
    policy: SubmitPolicy,
    *,
    attempt: str,
    now_ms: int,
    lease_until_ms: int,
) -> Generation | NotDequeued:
    """Dequeues the first of a flow's generations that may be sent: it becomes `dispatching`, with a lease.

    `flow` is as it was read before. Where its start tag is another one by now, a different replica was
    faster. `attempt` is a value unique to this call, by which `undo` finds its result. A generation past its
    start deadline is returned as `expired` instead.
    """
    account.lock_tenant(connection, flow.tenant_id)
    own = queue.flow_of(connection, flow.tenant_id, mode)
    if own is None or own.tag != flow.tag:
        return NotDequeued.MOVED
    chosen = first_eligible(
        connection,
        flow.tenant_id,
        mode,
        policy.default_limits,
        now_ms=now_ms,
        unknown_since_ms=now_ms - policy.unknown_slot_ms,
        for_update=True,
    )
    if chosen is None:
        if queue.head(connection, flow.tenant_id, mode, for_update=False) is None:
            queue.recount(connection, flow.tenant_id, mode)
        return NotDequeued.HELD_UP
    if chosen.start_deadline_ms is not None and chosen.start_deadline_ms <= now_ms:
        return expire(connection, chosen.id, now_ms=now_ms) or NotDequeued.MOVED
    try:
        credential = decide.pick(connection, choices, policy, now_ms=now_ms)
    except Problem:
        return NotDequeued.NO_ROOM
    taken = advance(
        connection,
        chosen.id,
        State.DISPATCHING,
        reason="dispatched",
        now_ms=now_ms,
        credential=credential,
        sent_at_ms=now_ms,
        attempt=attempt,
        lease_until_ms=lease_until_ms,
    )
    if taken is None:
        return NotDequeued.MOVED
    queue.charge_flow(connection, mode, own)
    return with_unsent_input(connection, taken)


def undo(tenant_id: str, attempt: str, connection: Connection, now_ms: int) -> None:
    """Undoes a dequeue whose result was never received, if it was committed: nothing was sent.

    The tenant's row is locked first, as by the dequeue: one whose commit is still under way, as on a database
    that waits for its standby, ends before.
    """
    account.lock_tenant(connection, tenant_id)
    row = connection.execute(
        select(generations.c.id, generations.c.version).where(
            literal_column(state_is(State.DISPATCHING)), generations.c.attempt == attempt
        )
    ).one_or_none()
    if row is not None:
        advance(
            connection,
            row.id,
            State.ACCEPTED,
            reason="not_sent",
            now_ms=now_ms,
            only_from={State.DISPATCHING},
            up_to_version=row.version,
            credential="",
            sent_at_ms=None,
        )


def expire(connection: Connection, generation_id: str, *, now_ms: int) -> Generation | None:
    """Ends a queued generation that is past its start deadline; returns None where it is no longer queued."""
    return advance(
        connection,
        generation_id,
        State.EXPIRED,
        reason="start_deadline",
        now_ms=now_ms,
        error={
            "code": "expired",
            "message": "The request had not started by its start deadline; nothing was sent to RunComfy.",
        },
    )
