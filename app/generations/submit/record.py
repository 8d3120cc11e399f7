"""A submit's intent: one row for a job, one job for an Idempotency-Key, and its price held.

The row is the idempotency record. It is made in tx 1, before anything is sent, and a second submit with the
same key finds it there, whichever replica it comes to. What it may cost is taken from every quota with it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from app.auth import client_tokens
from app.auth.client_tokens import ClientToken
from app.auth.keys import Mode
from app.auth.principal import check_token
from app.errors import IDEMPOTENCY_MISMATCH, INVALID_CLIENT_TOKEN, Problem
from app.generations import problems, store, token_limits
from app.generations.lifecycle import State
from app.generations.queue import rows as queue
from app.generations.queue.eligible import anybody_may_go
from app.generations.store import Choice, Generation, Intent
from app.kit.json import dumps
from app.quotas import account, ledger
from app.quotas.account import Owner
from app.quotas.limits import TOTAL, Account, Limit, Metric, Payer, Scope, Standing
from app.quotas.refusal import refused
from app.upstream import credentials


@dataclass(frozen=True, slots=True)
class Terms:
    """The operator's terms.

    `default_limits` hold for every tenant without an own one of that metric, `settles_in` are the states that
    make a price final, separated by commas, and an unknown generation is in flight for `unknown_slot_ms`.
    `most_waiting` may wait in all, `waiting_per_tenant` of a tenant that has no own number.
    """

    default_limits: tuple[Limit, ...] = ()
    settles_in: str = State.COMPLETED
    unknown_slot_ms: int = 900_000
    most_waiting: int = 10_000
    waiting_per_tenant: int = 1_000


def fingerprint(mode: Mode, model_id: str, body: Mapping[str, Any]) -> str:
    """SHA-256 in hex over method, route, kind of key, model and canonical JSON.

    The kind of key is in it so that a live submit is never answered with a sandbox job.
    """
    canonical = dumps(body, sort_keys=True)
    head = f"POST\0/v1/models/{{model_id}}\0{mode}\0{model_id}\0".encode()
    return hashlib.sha256(head + canonical).hexdigest()


def find(
    connection: Connection,
    tenant_id: str,
    mode: Mode,
    idempotency_key: str,
    wanted_fingerprint: str,
    *,
    key_space: str = "",
    token: ClientToken | None = None,
) -> Generation | None:
    """The generation that a submit with this key made before, where the caller may see it.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, it was another submit.

    """
    generation = store.find_by_key(connection, tenant_id, idempotency_key, key_space=key_space)
    if generation is not None and not token_limits.sees(token, generation):
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was sent before with another client token, whose requests this one does not"
            " see. Tokens that follow one another need an `end_user`.",
        )
    if generation is not None and generation.fingerprint != wanted_fingerprint:
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "Another model, input or kind of API key was sent with this Idempotency-Key before.",
            # What the other kind of key made is nobody's to see from here.
            extra={"request_id": generation.id} if generation.mode == mode else {},
        )
    return generation


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
    connection: Connection, intent: Intent, terms: Terms, *, now_ms: int, lease_until_ms: int
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
    before = account_of(
        connection,
        owner,
        intent.payer,
        intent.model_id,
        terms,
        budget=token_limits.budget_of(intent.token),
        now_ms=now_ms,
        to_take=True,
    )
    if intent.idempotency_key is not None:
        existing = find(
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
    refusal = refused(standings, may_wait=intent.may_wait, to_client=intent.token_id is not None)
    if refusal is not None:
        raise refusal
    credential = _credential(connection, intent, terms, standings, now_ms=now_ms)
    after = before.with_one_more(intent.price_microcredits)
    account.take(connection, owner, before, after, microcredits=intent.price_microcredits)
    generation = store.add(
        connection,
        intent,
        state=State.DISPATCHING if credential else State.ACCEPTED,
        credential=credential,
        quota_day=after.periods.day,
        ticket=_ticket(connection, intent, terms, waits=not credential),
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


def _credential(
    connection: Connection, intent: Intent, terms: Terms, standings: Sequence[Standing], *, now_ms: int
) -> str:
    """What to send it with now; empty where it has to wait, and may.

    It waits behind whoever waits already, whosever turn it is: the dispatch loop knows. Where nobody does,
    nothing is sent on credit, and fairness is not in question.

    Raises:
        Problem: DISPATCH_PAUSED, UPSTREAM_BUSY; it may not wait.

    """
    gate = queue.gate(connection, intent.tenant_id, intent.mode)
    if not intent.may_wait:
        if gate.paused:
            raise problems.of_pause()
        limited = all(one.concurrency is not None for one in intent.choices)
        since_ms = now_ms - terms.unknown_slot_ms
        # A place that is free now is free for a moment: those who wait for it come first.
        if (
            limited
            and gate.anybody_waits
            and anybody_may_go(connection, intent.mode, terms.default_limits, unknown_since_ms=since_ms)
        ):
            raise problems.of_full()
        return pick(connection, intent.choices, terms, now_ms=now_ms)
    if gate.shut or not intent.choices or not all(one.fits for one in standings):
        return ""
    try:
        return pick(connection, intent.choices, terms, now_ms=now_ms)
    except Problem:
        return ""


def _ticket(connection: Connection, intent: Intent, terms: Terms, *, waits: bool) -> int | None:
    if waits:
        return queue.join(connection, intent.tenant_id, intent.mode, terms)
    return queue.draw(connection, intent.tenant_id, intent.mode) if intent.may_wait else None


def pick(connection: Connection, choices: Sequence[Choice], terms: Terms, *, now_ms: int) -> str:
    """The first of these credentials with room for one more job; it has room until the commit.

    Raises:
        Problem: UPSTREAM_BUSY, none has.

    """
    limited = [one.name for one in choices if one.concurrency is not None]
    if limited and choices[0].concurrency is not None:
        credentials.hold(connection, limited)
    since_ms = now_ms - terms.unknown_slot_ms
    for choice in choices:
        if choice.concurrency is None:
            return choice.name
        live = store.live_of_credential(connection, choice.name, unknown_since_ms=since_ms)
        if live < choice.concurrency:
            return choice.name
    raise problems.of_full()


def account_of(
    connection: Connection,
    owner: Owner,
    payer: Payer,
    model_id: str | None,
    terms: Terms,
    *,
    budget: Sequence[Limit] = (),
    now_ms: int,
    to_take: bool = False,
) -> Account:
    """A payer's account with what is live counted, to look at or, holding the tenant, to take from."""
    opened = account.open_account(
        connection, owner, payer, model_id, defaults=terms.default_limits, now_ms=now_ms, to_take=to_take
    )
    if budget:
        used = token_limits.used(connection, owner, payer.token_id)
        usage = {**opened.usage, (Scope(token_id=payer.token_id), TOTAL): used}
        opened = replace(opened, limits=(*opened.limits, *budget), usage=usage)
    limited = [one.scope for one in opened.limits if one.metric is Metric.IN_FLIGHT]
    since_ms = now_ms - terms.unknown_slot_ms
    in_flight: dict[Scope, int] = {}
    if not all(scope.end_user for scope in limited):
        in_flight |= store.in_flight(connection, owner, unknown_since_ms=since_ms)
    if any(scope.end_user for scope in limited):
        in_flight |= token_limits.unfinished(connection, owner, payer.end_user, unknown_since_ms=since_ms)
    return replace(opened, in_flight=in_flight) if in_flight else opened
