"""Tx 1 of a submit: one row per job, one job per Idempotency-Key, and a hold on its price.

The row is the idempotency record too. It is committed before anything is sent, so a second submit with the
same key finds it, whichever replica receives it. In the same transaction its price is held in every quota
that it counts against.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from sqlalchemy import Connection

from app.auth import client_tokens
from app.auth.principal import check_token
from app.db.engines.engine import Database
from app.errors import INVALID_CLIENT_TOKEN, Problem
from app.generations import events, messages, problems, read_ahead, token_limits
from app.generations.advance import begin
from app.generations.events import ThresholdEvent
from app.generations.lifecycle import State
from app.generations.queue import decide
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation, SubmitIntent
from app.generations.submit import idempotency
from app.quotas import account, thresholds
from app.quotas.account import Owner
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer
from app.quotas.metrics import Metric
from app.quotas.problem import QuotaProblem, refusal
from app.quotas.standing import Account, Standing, violated
from app.quotas.thresholds import Crossing
from app.webhooks.registry import subscriptions

_IN_FLIGHT: Final = Metric.IN_FLIGHT  # a member's look-up is slow


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of tx 1.

    `standings` are the caller's limits after it, with whether another generation like it would fit; empty for
    a repetition. `crossed` are the thresholds that it was the first to cross.
    """

    generation: Generation
    is_new: bool
    standings: tuple[Standing, ...] = ()
    crossed: tuple[Crossing, ...] = ()


def record(
    connection: Connection, intent: SubmitIntent, policy: SubmitPolicy, *, now_ms: int, lease_until_ms: int
) -> Recorded:
    """Runs tx 1: takes from all quotas or from none, holds the price, and inserts the generation.

    It is inserted as `dispatching`, for the caller to send, or as `accepted` where it is queued.

    The tenant's row is locked first. Concurrent submits of a tenant therefore run one after another: a key
    gets one row, and the account does not change between being read and being taken from.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, QUOTA_EXCEEDED, QUOTA_EXHAUSTED, UPSTREAM_BUSY, DISPATCH_PAUSED,
            QUEUE_FULL, GATEWAY_QUEUE_FULL, INVALID_PARAMETER, INVALID_API_KEY, INVALID_CLIENT_TOKEN,
            EXPIRED_CLIENT_TOKEN; nothing was taken.

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
        budget=() if intent.token is None else token_limits.budget_of(intent.token),
        now_ms=now_ms,
        for_update=True,
    )
    key = intent.idempotency_key
    existing = None if key is None else idempotency.find_earlier(connection, intent, key)
    if existing is not None:
        return Recorded(existing, is_new=False)
    _check_webhook(connection, intent)
    standings = before.standings(intent.amounts, undeclared=intent.undeclared)
    if against := violated(standings, queueable=intent.queueable):
        raise refusal(standings, against)
    credential = decide.credential_for(connection, intent, policy, standings, now_ms=now_ms)
    after = before.with_one_more(intent.amounts)
    account.take(connection, owner, before, after, intent.amounts)
    left = after.standings(intent.amounts, undeclared=intent.undeclared)
    crossed = tuple(
        one
        for one in thresholds.crossed(standings, left, policy.thresholds)
        if _is_new(connection, owner, one, now_ms)
    )
    generation = begin(
        connection,
        intent,
        state=State.DISPATCHING if credential else State.ACCEPTED,
        credential=credential,
        quota_day=after.periods.day,
        ticket=_ticket(connection, intent, policy, waits=not credential),
        now_ms=now_ms,
        lease_until_ms=lease_until_ms if credential else None,
        together=not _counts_rows(intent, before),
    )
    # A queued generation is not in flight; only an end user's limits count it all the same.
    if not credential:
        of_end_user = {scope: count for scope, count in after.in_flight.items() if scope.end_user}
        after = after._replace(in_flight={**before.in_flight, **of_end_user})
        left = after.standings(intent.amounts, undeclared=intent.undeclared)
    return Recorded(generation, is_new=True, standings=tuple(left), crossed=crossed)


def _counts_rows(intent: SubmitIntent, opened: Account) -> bool:
    """Returns whether the next submit like this one counts generations, so that it wants this one's row."""
    return (
        intent.token is not None
        or any(one.metric is _IN_FLIGHT for one in opened.limits)
        or any(one.concurrency is not None for one in intent.choices)
    )


def _check_webhook(connection: Connection, intent: SubmitIntent) -> None:
    endpoint_id = intent.webhook_endpoint_id
    if endpoint_id is None:
        return
    if not subscriptions.is_endpoint(connection, intent.tenant_id, intent.mode, endpoint_id):
        raise problems.unknown_webhook(
            f"is not the id of a webhook endpoint that this tenant has for {intent.mode} keys"
        )


def _is_new(connection: Connection, owner: Owner, crossing: Crossing, now_ms: int) -> bool:
    """Appends the event of a crossed threshold, and writes its message; returns whether it is new."""
    appended = events.append_threshold(connection, owner, crossing, at_ms=now_ms)
    if appended is None:
        return False
    if appended.webhooks:
        event = ThresholdEvent(crossing=crossing, at_ms=now_ms, number=appended.number)
        messages.tell_threshold(connection, owner, event)
    return True


def _check_token(connection: Connection, token_id: str, now_ms: int) -> None:
    """Checks the client token again.

    It may have ended since authentication, while the submit's files were being fetched.
    """
    found = client_tokens.find(connection, token_id)
    if found is None:
        raise Problem(INVALID_CLIENT_TOKEN, "This gateway does not know this client token.")
    check_token(found[0], now_ms)


def _ticket(connection: Connection, intent: SubmitIntent, policy: SubmitPolicy, *, waits: bool) -> int | None:
    if waits:
        return queue.join(connection, intent.tenant_id, intent.mode, policy)
    return queue.next_ticket(connection, intent.tenant_id, intent.mode) if intent.queueable else None


_MAX_REMEMBERED: Final = 1_000
_Question = tuple[str, str, Payer, str, Amounts, bool]  # what the decision depends on


@dataclass(frozen=True, slots=True)
class Admission:
    """Records intents; remembers the last refusal of each question, for submits that arrived before it."""

    db: Database
    _ticket: "count[int]" = field(default_factory=count, init=False)
    _refusals: OrderedDict[_Question, tuple[int, Sequence[Standing]]] = field(
        default_factory=OrderedDict, init=False
    )

    async def record(
        self, intent: SubmitIntent, policy: SubmitPolicy, *, now_ms: int, lease_until_ms: int
    ) -> Recorded:
        """Runs tx 1 and returns the generation of this intent, new or from an earlier submit with its key.

        Raises:
            Problem: IDEMPOTENCY_MISMATCH, QUOTA_EXCEEDED, QUOTA_EXHAUSTED, or DATABASE_UNAVAILABLE.

        """
        question = (
            intent.tenant_id,
            intent.mode,
            intent.payer,
            intent.model_id,
            intent.amounts,
            intent.queueable,
        )
        began: list[int] = []
        came = next(self._ticket)
        try:
            return await self.db.write_together(
                read_ahead.of_submit(intent, policy, now_ms=now_ms),
                self._decide,
                intent,
                policy,
                question,
                came=came,
                began=began,
                now_ms=now_ms,
                lease_until_ms=lease_until_ms,
            )
        except QuotaProblem as problem:
            if began:
                self._remember(question, began[-1], problem.standings)
            raise

    def _decide(
        self,
        connection: Connection,
        intent: SubmitIntent,
        policy: SubmitPolicy,
        question: _Question,
        *,
        came: int,
        began: list[int],
        now_ms: int,
        lease_until_ms: int,
    ) -> Recorded:
        """Repeats the last refusal of this question, where the submit came before that was decided."""
        decided, standings = self._refusals.get(question, (-1, ()))
        if came < decided and (against := violated(standings, queueable=intent.queueable)):
            return _earlier(connection, intent, refusal(standings, against))
        began.append(next(self._ticket))
        return record(connection, intent, policy, now_ms=now_ms, lease_until_ms=lease_until_ms)

    def _remember(self, question: _Question, began: int, standings: Sequence[Standing]) -> None:
        self._refusals[question] = (began, standings)
        self._refusals.move_to_end(question)
        while len(self._refusals) > _MAX_REMEMBERED:
            self._refusals.popitem(last=False)


def _earlier(connection: Connection, intent: SubmitIntent, problem: QuotaProblem) -> Recorded:
    """Returns what an earlier submit with the same key made, or raises the problem.

    A repetition uses no quota, so it is not refused.
    """
    if (key := intent.idempotency_key) is not None:
        existing = idempotency.find_earlier(connection, intent, key)
        if existing is not None:
            return Recorded(existing, is_new=False)
    raise problem
