"""Taking the next job that waits, to be sent: one transaction, in which every limit is judged again."""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, literal_column, select

from app.auth.keys import Mode
from app.db.tables import generations
from app.errors import Problem
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.queue import decide
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.queue.eligible import first_that_may_go
from app.generations.queue.fair import Flow
from app.generations.store import Generation
from app.quotas import account
from app.upstream.credentials import Choice


class NotDequeued(StrEnum):
    """Why nothing was taken: the queue had changed; the tenant may send nothing now; or nobody may."""

    MOVED = "moved"
    KEPT_BACK = "kept_back"
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
    """Whose turn it is, in order, those after `last`; nobody's where no credential has room."""
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
    """Take the first of a tenant's jobs that may go now; it is `dispatching` then, with a lease.

    `turn` is as it was read before: where it is another one by now, somebody else was faster. `attempt` is a
    word of this take alone. A job that should have started by now is returned as `expired`.
    """
    account.lock_tenant(connection, flow.tenant_id)
    own = queue.flow_of(connection, flow.tenant_id, mode)
    if own is None or own.tag != flow.tag:
        return NotDequeued.MOVED
    chosen = first_that_may_go(
        connection,
        flow.tenant_id,
        mode,
        policy.default_limits,
        unknown_since_ms=now_ms - policy.unknown_slot_ms,
        for_update=True,
    )
    if chosen is None:
        if queue.head(connection, flow.tenant_id, mode, for_update=False) is None:
            queue.recount(connection, flow.tenant_id, mode)
        return NotDequeued.KEPT_BACK
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
    queue.serve(connection, mode, own)
    return taken


def undo(attempt: str, connection: Connection, now_ms: int) -> None:
    """Undo a take of which nobody heard, if it was carried out: nothing was sent."""
    row = connection.execute(
        select(generations.c.id, generations.c.version).where(
            literal_column("state = 'dispatching'"), generations.c.attempt == attempt
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
    """End a job that waits and should have started by now; None where it waits no more."""
    return advance(
        connection,
        generation_id,
        State.EXPIRED,
        reason="start_deadline",
        now_ms=now_ms,
        error={"code": "expired", "message": "It had not started by its start deadline; nothing was sent."},
    )
