"""Sending a recorded job, once, and recording what became of it.

The row is committed before the upstream hears of it, so a crash at any point leaves a record that says how
far it came. Between the two transactions no connection is held.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.db.engine import Database
from app.errors import Problem
from app.generations import problems, store
from app.generations.advance import advance
from app.generations.dispatch.spool import Spool
from app.generations.lifecycle import State
from app.generations.queue import decide
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.upstream.client import Upstream
from app.upstream.credentials import Choice, Credential, Pool
from app.upstream.outcomes import ErrorDetails, Exchange, Outcome, Verdict, evidence, judge_submit

_log = get_logger("dispatch")

_MAX_TRIES = 3
_PAUSE_S = 0.25  # before sending again what provably never left
_MIN_TO_TRY_S = 1.0  # of the deadline, for another try to be worth it
_MAX_RECORD_PAUSE_S = 5.0
_ANOTHER_MAY = frozenset({Verdict.REJECTED_CREDENTIAL, Verdict.BUSY})
_MAX_RETURNS = 100  # of a job that was refused, to the queue
_MAX_IN_PLACE = 5  # of them, to its old place
_MAX_REFUSALS = 3  # of one that may be refused for its own sake; each pauses the credential for longer
_SURELY_OURS = frozenset({"http_401", "http_402"})  # of every job alike
_LATE_COMMIT_S = 15.0  # longer than a database that froze takes to finish what it had


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Sends generations that are in `dispatching`."""

    db: Database
    clock: Clock
    pool: Pool
    policy: SubmitPolicy
    spool: Spool

    async def dispatch(self, generation: Generation, body: bytes, *, deadline: float) -> Generation:
        """Send it before `deadline` (of the event loop's time) and return its row with the outcome.

        What one credential provably made no job of, because the upstream does not take it from that one now,
        is sent with the next.
        """
        left = [one for one in self.pool.usable(generation.mode) if one.name != generation.credential]
        keeps_trying = not generation.queueable
        credential = self.pool.all[generation.credential]
        while True:
            outcome, exchange = await self._send(
                generation, credential, body, deadline, keeps_trying=keeps_trying and not left
            )
            if not left or outcome.verdict not in _ANOTHER_MAY or _over(deadline):
                break
            moved = await self._move(generation, left)
            if moved is None:
                break
            generation, credential = moved, self.pool.all[moved.credential]
            left = [one for one in left if one is not credential]
        _log.info(
            "A submit was answered.",
            generation=generation.id,
            model=generation.model_id,
            mode=generation.mode,
            verdict=outcome.verdict,
            reason=outcome.reason,
            upstream_request_id=outcome.upstream_request_id,
        )
        if outcome.verdict is Verdict.REJECTED_CREDENTIAL:
            _log.error(
                "The upstream refuses our credential.",
                mode=generation.mode,
                reason=outcome.reason,
                code=outcome.words.code,
            )
        return await self.record(generation, credential.upstream, outcome, exchange)

    def _others(self, generation: Generation, connection: Connection) -> int:
        """How many jobs beside it are in flight with its credential."""
        since_ms = self.clock.now_ms() - self.policy.unknown_slot_ms
        return store.live_of_credential(connection, generation.credential, unknown_since_ms=since_ms) - 1

    async def _move(self, generation: Generation, left: list[Credential]) -> Generation | None:
        """Give it to another credential, in its row first; None where none has room or the row is taken."""
        now_ms = self.clock.now_ms()
        choices = [
            one.choice(now_ms, queueable=generation.queueable) for one in left if one.health.may_submit
        ]
        try:
            return await self.db.write(repin, generation.id, choices, self.policy, now_ms=now_ms)
        except Problem:
            return None

    async def close_unsent(self, generation_id: str, *, late: bool = False) -> None:
        """Reject a generation that was not sent, if its row exists after all; `late`, a while from now."""
        if late:
            await self.clock.sleep(_LATE_COMMIT_S)
        outcome = Outcome(Verdict.NOT_SENT, "not_recorded_in_time")
        await self.until_done(partial(close_as_not_sent, generation_id, outcome))

    async def until_done(self, change: Callable[[Connection, int], object]) -> None:
        """Make a change of the database, given the time, trying for as long as this process lives."""
        pause_s = _PAUSE_S
        while True:
            try:
                await self.db.write(change, self.clock.now_ms())
            except Problem:
                await self.clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _MAX_RECORD_PAUSE_S)
            else:
                return

    async def _send(
        self,
        generation: Generation,
        credential: Credential,
        body: bytes,
        deadline: float,
        *,
        keeps_trying: bool,
    ) -> tuple[Outcome, Exchange]:
        """Send it, and again before the deadline only where the last try provably made no job.

        What another credential may take, or waits here instead, does not wait for this one.
        """
        loop = asyncio.get_running_loop()
        upstream = credential.upstream
        tries = 1
        while True:
            exchange = await upstream.submit(generation.model_id, body, deadline_s=deadline - loop.time())
            outcome = judge_submit(exchange, now_ms=self.clock.now_ms())
            pause_s = _pause_before_another(outcome, tries)
            if outcome.verdict in _ANOTHER_MAY and not keeps_trying:
                pause_s = None
            if pause_s is None or deadline - loop.time() - pause_s < _MIN_TO_TRY_S:
                self.pool.record_submit(credential, outcome)
                if outcome.reason == "http_429":
                    await self.pool.record_capacity(self.db, credential, partial(self._others, generation))
                return replace(outcome, words=_redacted(outcome.words, upstream)), exchange
            await self.clock.sleep(pause_s)
            tries += 1

    async def record(
        self, generation: Generation, upstream: Upstream, outcome: Outcome, exchange: Exchange
    ) -> Generation:
        """Commit the outcome, trying for as long as this process lives: the answer is the only copy of it."""
        pause_s = _PAUSE_S
        spooled = False
        while True:
            kept = evidence(exchange, outcome.reason, upstream.redact)
            try:
                recorded = await self.db.write(
                    record_outcome,
                    generation.id,
                    outcome,
                    kept,
                    now_ms=self.clock.now_ms(),
                    version=generation.version,
                )
            except asyncio.CancelledError:
                if not spooled:  # a stop that may wait no longer: the disk is the last to know
                    self._spool(generation, outcome)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer is the only copy
                if isinstance(error, IntegrityError) and outcome.verdict is Verdict.ACCEPTED:
                    # The upstream gave the id of another job: whose job this is cannot be told.
                    outcome = Outcome(Verdict.UNKNOWN, "id_of_another_job")
                    continue
                _log.exception(
                    "An outcome could not be recorded; trying again.",
                    generation=generation.id,
                    verdict=outcome.verdict,
                    upstream_request_id=outcome.upstream_request_id,
                )
                spooled = spooled or self._spool(generation, outcome)
                await self.clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _MAX_RECORD_PAUSE_S)
            else:
                self._check(recorded, outcome)
                return recorded

    def _check(self, recorded: Generation, outcome: Outcome) -> None:
        """Keep an id that came too late: the row was closed, or given another one, by an operator."""
        upstream_request_id = outcome.upstream_request_id
        if upstream_request_id in {None, recorded.upstream_request_id}:
            return
        try:
            self.spool.reject(recorded.id, upstream_request_id or "")
        except OSError:
            _log.exception("An answer could not be kept.", generation=recorded.id)

    def _spool(self, generation: Generation, outcome: Outcome) -> bool:
        if outcome.upstream_request_id is not None:
            try:
                self.spool.append(generation.id, outcome.upstream_request_id)
            except OSError:
                _log.exception("An answer could not be spooled either.", generation=generation.id)
                return False
        return True


def _over(deadline: float) -> bool:
    return deadline - asyncio.get_running_loop().time() < _MIN_TO_TRY_S


def _redacted(words: ErrorDetails, upstream: Upstream) -> ErrorDetails:
    detail = tuple((path, upstream.redact(message)) for path, message in words.detail)
    return replace(words, message=upstream.redact(words.message), detail=detail)


def _pause_before_another(outcome: Outcome, tries: int) -> float | None:
    """Seconds to wait before the same submit may be sent again; None when it may not."""
    if tries >= _MAX_TRIES:
        return None
    if outcome.verdict is Verdict.NOT_SENT:
        return _PAUSE_S * tries
    if outcome.verdict is Verdict.BUSY and outcome.retry_after_s is not None:
        return float(outcome.retry_after_s)
    return None


def repin(
    connection: Connection,
    generation_id: str,
    choices: Sequence[Choice],
    policy: SubmitPolicy,
    *,
    now_ms: int,
) -> Generation | None:
    """Give a generation that is being sent, and provably made no job, to the first credential with room.

    Raises:
        Problem: UPSTREAM_BUSY, none has.

    """
    return store.repin(connection, generation_id, decide.pick(connection, choices, policy, now_ms=now_ms))


def close_as_not_sent(generation_id: str, outcome: Outcome, connection: Connection, now_ms: int) -> None:
    """Reject what was recorded to be sent at once and never was, and free its key.

    That is its first version, or the second where the rescue loop took it for unknown. What waited first is
    not of this server alone: whoever took it from the queue sends it.
    """
    for source, version in ((State.DISPATCHING, 1), (State.UNKNOWN, 2)):
        advance(
            connection,
            generation_id,
            State.REJECTED,
            reason=outcome.reason,
            now_ms=now_ms,
            only_from={source},
            up_to_version=version,
            error=problems.stored_error(outcome),
            idempotency_key=None,
            fingerprint=None,
        )


def record_outcome(
    connection: Connection,
    generation_id: str,
    outcome: Outcome,
    kept: Mapping[str, Any],
    *,
    now_ms: int,
    version: int | None = None,
) -> Generation:
    """Tx 2: what became of a submit, and the row after it.

    An outcome that comes after the rescue loop took the row for unknown is late evidence and still counts.
    One that was recorded before, though nobody heard of it, changes nothing: `version` is the row's when it
    was sent, and by now it may be under way again.
    """
    last = None if version is None else version + 1  # the rescue loop's
    to, changes = _move(outcome, kept)
    if outcome.verdict in problems.MAY_BE_SENT_AGAIN:
        back = _back_to_the_queue(connection, generation_id, outcome, now_ms=now_ms, last=last)
        if back is not None:
            return back
        # It provably made no job, and the caller is told to try again: the key is free for that.
        changes |= {"idempotency_key": None, "fingerprint": None}
    generation = advance(
        connection, generation_id, to, reason=outcome.reason, now_ms=now_ms, up_to_version=last, **changes
    )
    if generation is None and to is State.UNKNOWN:
        store.keep_evidence(connection, generation_id, kept)
    generation = generation or store.find(connection, generation_id, None)
    if generation is None:  # rows are never deleted while a submit is under way
        raise LookupError(generation_id)
    return generation


def _back_to_the_queue(
    connection: Connection, generation_id: str, outcome: Outcome, *, now_ms: int, last: int | None
) -> Generation | None:
    """The generation where it waits again; None where it may not, or no more.

    What could not be sent keeps its place. What was refused does so a few times: then it goes to the end of
    its tenant's queue, and is rejected in the end, lest what is refused for its own sake keeps the others.
    """
    generation = store.find(connection, generation_id, None)
    if generation is None or not generation.queueable:
        return None
    refused = outcome.verdict is not Verdict.NOT_SENT
    returns = generation.returns + refused
    may_be_its_own = outcome.verdict is Verdict.REJECTED_CREDENTIAL and outcome.reason not in _SURELY_OURS
    if returns > (_MAX_REFUSALS if may_be_its_own else _MAX_RETURNS):
        return None
    back = advance(
        connection,
        generation_id,
        State.ACCEPTED,
        reason=outcome.reason,
        now_ms=now_ms,
        up_to_version=last,
        credential="",
        sent_at_ms=None,
        returns=returns,
    )
    if back is None or not refused or returns <= _MAX_IN_PLACE:
        return back
    return store.set_ticket(connection, back, queue.draw(connection, back.tenant_id, back.mode))


def _move(outcome: Outcome, kept: Mapping[str, Any]) -> tuple[State, dict[str, Any]]:
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return State.IN_QUEUE, {"upstream_request_id": outcome.upstream_request_id}
        case Verdict.UNKNOWN:
            return State.UNKNOWN, {"evidence": kept}
        case _:
            return State.REJECTED, {"evidence": kept, "error": problems.stored_error(outcome)}
