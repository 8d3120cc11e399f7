"""A submit's intent: one row for a job, one job for an Idempotency-Key, and its price held.

The row is the idempotency record. It is made in tx 1, before anything is sent, and a second submit with the
same key finds it there, whichever replica it comes to. What it may cost is taken from every quota with it.
"""

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from app.auth import client_tokens
from app.auth.principal import check_token
from app.errors import INVALID_CLIENT_TOKEN, Problem
from app.generations import token_limits
from app.generations.advance import begin
from app.generations.lifecycle import State
from app.generations.queue import decide
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation, SubmitIntent
from app.generations.submit import idempotency
from app.quotas import account, ledger
from app.quotas.account import Owner
from app.quotas.limits import Standing
from app.quotas.refusal import refused


@dataclass(frozen=True, slots=True)
class Recorded:
    """Tx 1's result.

    `standings` are the tenant's limits after it, and whether another one like it would fit; empty for a
    repetition.
    """

    generation: Generation
    is_new: bool
    standings: tuple[Standing, ...] = ()


def record(
    connection: Connection, intent: SubmitIntent, policy: SubmitPolicy, *, now_ms: int, lease_until_ms: int
) -> Recorded:
    """Tx 1: take all quotas or none, hold the price, and insert the generation of this intent.

    It is inserted as `dispatching`, to be sent by whoever called, or where it may not go yet as `accepted`.

    Whoever submits for the same tenant meanwhile waits here, so that there is one row for a key, and what
    is read of the account is what is taken from.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, QUOTA_EXCEEDED, QUOTA_EXHAUSTED, UPSTREAM_BUSY, DISPATCH_PAUSED,
            QUEUE_FULL, GATEWAY_QUEUE_FULL, INVALID_CLIENT_TOKEN, EXPIRED_CLIENT_TOKEN; nothing was taken.

    """
    owner = Owner(intent.tenant_id, intent.mode)
    if intent.token is not None:
        _check_token(connection, intent.token.token_id, now_ms)
    before = decide.account_of(
        connection,
        owner,
        intent.payer,
        intent.model_id,
        policy,
        budget=token_limits.budget_of(intent.token),
        now_ms=now_ms,
        for_update=True,
    )
    if intent.idempotency_key is not None:
        existing = idempotency.find(
            connection,
            intent.tenant_id,
            intent.mode,
            intent.idempotency_key,
            intent.fingerprint or "",
            key_space=intent.key_space,
            token=intent.token,
        )
        if existing is not None:
            return Recorded(existing, is_new=False)
    standings = before.standings(intent.price_microcredits)
    refusal = refused(standings, queueable=intent.queueable, to_client=intent.token_id is not None)
    if refusal is not None:
        raise refusal
    credential = decide.credential_for(connection, intent, policy, standings, now_ms=now_ms)
    after = before.with_one_more(intent.price_microcredits)
    account.take(connection, owner, before, after, microcredits=intent.price_microcredits)
    generation = begin(
        connection,
        intent,
        state=State.DISPATCHING if credential else State.ACCEPTED,
        credential=credential,
        quota_day=after.periods.day,
        ticket=_ticket(connection, intent, policy, waits=not credential),
        now_ms=now_ms,
        lease_until_ms=lease_until_ms if credential else None,
    )
    if generation.hold is not None:
        ledger.hold(connection, generation.hold, now_ms=now_ms)
    if not credential:  # of an end user what waits counts all the same
        of_end_user = {scope: count for scope, count in after.in_flight.items() if scope.end_user}
        after = replace(after, in_flight={**before.in_flight, **of_end_user})
    return Recorded(generation, is_new=True, standings=tuple(after.standings(intent.price_microcredits)))


def _check_token(connection: Connection, token_id: str, now_ms: int) -> None:
    """Whoever authenticated may have waited for a file, and its token may have ended meanwhile."""
    found = client_tokens.find(connection, token_id)
    if found is None:
        raise Problem(INVALID_CLIENT_TOKEN, "This client token is not known here.")
    check_token(found[0], now_ms)


def _ticket(connection: Connection, intent: SubmitIntent, policy: SubmitPolicy, *, waits: bool) -> int | None:
    if waits:
        return queue.join(connection, intent.tenant_id, intent.mode, policy)
    return queue.draw(connection, intent.tenant_id, intent.mode) if intent.queueable else None
