"""Sending a recorded generation to RunComfy, once, and recording the outcome.

The row is committed before anything is sent, so after a crash at any point the record says how far it came.
Between the two transactions no database connection is held.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.db.engines.engine import Database
from app.errors import Problem
from app.files.sending import FileGoneError
from app.generations import problems, read_ahead, store
from app.generations.advance import advance
from app.generations.dispatch.references import ReferenceResolver
from app.generations.dispatch.spool import Spool
from app.generations.lifecycle import IN_FLIGHT, State
from app.generations.queue import decide
from app.generations.queue import rows as queue
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.log import Aside, get_logger
from app.kit.meters import Tally
from app.kit.traces import Span
from app.quotas.account import lock_tenant
from app.storage.store import StorageError
from app.upstream.client import Upstream
from app.upstream.credentials import Choice, Credential, Pool
from app.upstream.outcomes import (
    NO_DETAILS,
    ErrorDetails,
    Exchange,
    Outcome,
    Sent,
    Verdict,
    evidence,
    judge_submit,
)

_log = get_logger("dispatch")

_MAX_TRIES = 3
_PAUSE_S = 0.25  # before sending again what was provably never sent
_MIN_TO_TRY_S = 1.0  # what must be left of the deadline for another try
_MAX_RECORD_PAUSE_S = 5.0
_TRY_NEXT_CREDENTIAL = frozenset({Verdict.REJECTED_CREDENTIAL, Verdict.BUSY})
_MAX_RETURNS = 100  # returns to the queue of a generation that RunComfy refused
_MAX_IN_PLACE = 5  # of these returns leave it in its place in the queue
_MAX_REFUSALS = 3  # the same where the job itself may be the cause; each pauses the credential for longer
_REFUSES_EVERY_JOB = frozenset({"http_401", "http_402"})  # these refuse every job: the job is not the cause
_LATE_COMMIT_S = 15.0  # longer than a frozen database takes to complete what it had begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Sends generations that are `dispatching`. `verdicts` counts the outcomes, by mode and verdict."""

    db: Database
    clock: Clock
    pool: Pool
    policy: SubmitPolicy
    spool: Spool
    references: ReferenceResolver
    verdicts: Tally = field(default_factory=Counter, init=False)

    async def dispatch(self, generation: Generation, body: bytes, *, deadline: float) -> Generation:
        """Sends a generation before `deadline` (event loop time), and returns it with its outcome recorded.

        `body` is the input to send. Where one credential provably made no job, because RunComfy refuses the
        credential or is busy, the generation is sent with the next one.
        """
        credential, left = self.pool.with_others(generation.credential)
        if self.references.has_any(body):
            found = await self._resolved(generation, body, deadline)
            if isinstance(found, Outcome):
                return await self._conclude(generation, credential, found, Exchange(Sent.NOTHING))
            body = found
        keeps_trying = not generation.queueable
        full: list[Credential] = []  # those that take no more jobs
        while True:
            outcome, exchange = await self._send(
                generation, credential, body, deadline, keeps_trying=keeps_trying and not left
            )
            with Aside("the health of a credential"):
                self.pool.record_submit(credential, outcome, now_ms=self.clock.now_ms())
            if outcome.reason == "http_429":
                full.append(credential)
            if not left or outcome.verdict not in _TRY_NEXT_CREDENTIAL or _out_of_time(deadline):
                break
            moved = await self._move(generation, left)
            if moved is None:
                break
            generation, credential = moved, self.pool.all[moved.credential]
            left = [one for one in left if one is not credential]
        recorded = await self._conclude(generation, credential, outcome, exchange)
        # After the record: nothing that waits stands between a paid call and it.
        for one in full:
            with Aside("the capacity of a credential"):
                await self.pool.record_capacity(self.db, one, partial(self._others, recorded, one.name))
        return recorded

    async def _resolved(self, generation: Generation, body: bytes, deadline: float) -> bytes | Outcome:
        """Returns the input to send, without references to uploaded files; or why nothing can be sent."""
        try:
            async with asyncio.timeout_at(deadline - _MIN_TO_TRY_S):
                return await self.references.resolved(generation, body)
        except FileGoneError:
            return Outcome(Verdict.FILE_GONE, "file_gone")
        except (StorageError, Problem, TimeoutError):
            return Outcome(Verdict.NOT_SENT, "file_unreadable")
        except Exception:  # noqa: BLE001 - nothing was sent, and the row must not say that it may have been
            _log.exception("The files of a request could not be resolved.", generation=generation.id)
            return Outcome(Verdict.FILE_GONE, "file_unusable")

    async def _conclude(
        self, generation: Generation, credential: Credential, outcome: Outcome, exchange: Exchange
    ) -> Generation:
        """Records an outcome, then counts and logs it."""
        with Span("outcome", request=generation.id, verdict=outcome.verdict.value):
            recorded = await self.record(generation, credential.upstream, outcome, exchange)
        self.verdicts[recorded.mode, outcome.verdict.value] += 1
        _report(recorded, outcome)
        return recorded

    def _others(self, generation: Generation, credential: str, connection: Connection) -> int:
        """Returns how many generations besides this one are in flight with a credential."""
        since_ms = self.clock.now_ms() - self.policy.unknown_slot_ms
        count = store.live_of_credential(connection, credential, unknown_since_ms=since_ms)
        return count - (generation.credential == credential and generation.state in IN_FLIGHT)

    async def _move(self, generation: Generation, left: list[Credential]) -> Generation | None:
        """Moves a generation to another credential, in its row first.

        Returns None where none has room, or the generation is no longer being sent.
        """
        now_ms = self.clock.now_ms()
        choices = [
            one.choice(now_ms, queueable=generation.queueable) for one in left if one.health.may_submit
        ]
        try:
            return await self.db.write_for(
                generation.tenant_id, reassign_credential, generation.id, choices, self.policy, now_ms=now_ms
            )
        except Problem:
            return None

    async def close_unsent(self, tenant_id: str, generation_id: str, *, late: bool = False) -> None:
        """Rejects a generation that was not sent, if its row exists after all.

        With `late` it does so after a while, when a frozen database has completed what it had begun.
        """
        if late:
            await self.clock.sleep(_LATE_COMMIT_S)
        outcome = Outcome(Verdict.NOT_SENT, "not_recorded_in_time")
        await self.until_done(partial(close_as_not_sent, tenant_id, generation_id, outcome))

    async def until_done(self, change: Callable[[Connection, int], object]) -> None:
        """Makes a change of the database, retrying for as long as this process lives.

        It is passed the present time.
        """
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
        """Sends a generation, and again before the deadline only where the last try provably made no job.

        With `keeps_trying` False, a refusal of the credential or a busy RunComfy is not retried here: another
        credential takes the generation, or it returns to the queue.
        """
        loop = asyncio.get_running_loop()
        upstream = credential.upstream
        tries = 1
        while True:
            with Span("runcomfy submit", request=generation.id, attempt=tries) as span:
                exchange = await upstream.submit(generation.model_id, body, deadline_s=deadline - loop.time())
                span.note(status=exchange.status)
            outcome = self._judge(exchange, upstream)
            pause_s: float | None = None
            with Aside("whether a submit is sent again"):
                pause_s = _pause_before_another(outcome, tries)
            if outcome.verdict in _TRY_NEXT_CREDENTIAL and not keeps_trying:
                pause_s = None
            if pause_s is None or deadline - loop.time() - pause_s < _MIN_TO_TRY_S:
                return outcome, exchange
            await self.clock.sleep(pause_s)
            tries += 1

    def _judge(self, exchange: Exchange, upstream: Upstream) -> Outcome:
        """Returns the outcome of a submit; unknown where the answer is beyond what we can judge."""
        try:
            outcome = judge_submit(exchange, now_ms=self.clock.now_ms())
        except Exception:  # noqa: BLE001 - whatever it is, there may be a job
            _log.exception("RunComfy's answer to a submit could not be judged.", status=exchange.status)
            return Outcome(Verdict.UNKNOWN, "not_judged")
        if outcome.words is NO_DETAILS:
            return outcome
        with Aside("the words of RunComfy's answer"):
            return replace(outcome, words=_redacted(outcome.words, upstream))
        return replace(outcome, words=NO_DETAILS)

    async def record(
        self, generation: Generation, upstream: Upstream, outcome: Outcome, exchange: Exchange
    ) -> Generation:
        """Commits the outcome and returns the generation, retrying for as long as this process lives.

        RunComfy's answer is in no other place until then.
        """
        pause_s = _PAUSE_S
        spooled = False
        while True:
            kept: dict[str, Any] = {"reason": outcome.reason}
            with Aside("the evidence of a submit"):
                kept = evidence(exchange, outcome.reason, upstream.redact)
            try:
                recorded = await self.db.write_together(
                    read_ahead.of_outcome(generation.tenant_id),
                    record_outcome,
                    generation.id,
                    outcome,
                    kept,
                    now_ms=self.clock.now_ms(),
                    version=generation.version,
                    sent=generation,
                )
            except asyncio.CancelledError:
                if not spooled:  # the process is stopping: the id is kept on disk
                    self._spool(generation, outcome)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer exists nowhere else
                if isinstance(error, IntegrityError) and outcome.verdict is Verdict.ACCEPTED:
                    # RunComfy answered with the id of a job that belongs to another generation: which job
                    # this submit made, if any, cannot be told.
                    outcome = Outcome(Verdict.UNKNOWN, "id_of_another_job")
                    continue
                _log.exception(
                    "An outcome could not be recorded; trying again.",
                    generation=generation.id,
                    verdict=outcome.verdict,
                    upstream_request_id=outcome.upstream_request_id,
                    terms=_terms(generation),
                )
                spooled = spooled or self._spool(generation, outcome)
                await self.clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _MAX_RECORD_PAUSE_S)
            else:
                self._check(recorded, outcome)
                return recorded

    def _check(self, recorded: Generation, outcome: Outcome) -> None:
        """Keeps an upstream id that came too late: an operator had closed the row or given it another id."""
        upstream_request_id = outcome.upstream_request_id
        if upstream_request_id in {None, recorded.upstream_request_id}:
            return
        with Aside("keeping RunComfy's id of a job that fits no request"):
            self.spool.reject(recorded.id, upstream_request_id or "")

    def _spool(self, generation: Generation, outcome: Outcome) -> bool:
        if outcome.upstream_request_id is not None:
            try:
                self.spool.append(generation.id, outcome.upstream_request_id)
            except Exception:  # noqa: BLE001 - the database may take it yet
                _log.exception(
                    "RunComfy's id of a job could not be spooled either.", generation=generation.id
                )
                return False
        return True


def _report(recorded: Generation, outcome: Outcome) -> None:
    """Logs what became of a submit."""
    _log.info(
        "A submit was answered.",
        generation=recorded.id,
        model=recorded.model_id,
        mode=recorded.mode,
        verdict=outcome.verdict,
        reason=outcome.reason,
        upstream_request_id=outcome.upstream_request_id,
        terms=None if outcome.upstream_request_id is None else _terms(recorded),
    )
    if recorded.state is State.UNKNOWN:
        _log.warning(
            "The outcome of a submit is unknown: there may be a job that is to be paid.",
            generation=recorded.id,
            tenant=recorded.tenant_id,
            model=recorded.model_id,
            mode=recorded.mode,
            reason=outcome.reason,
        )
    if outcome.verdict is Verdict.REJECTED_CREDENTIAL:
        _log.error(
            "The upstream refuses the gateway's credential.",
            mode=recorded.mode,
            reason=outcome.reason,
            code=outcome.words.code,
        )


def _terms(generation: Generation) -> dict[str, Any]:
    """Returns what the row is made again of, should the database be restored from an older copy.

    `app.admin.backups.recover` reads it from the log. Neither the input nor a secret is in it.
    """
    return {name: getattr(generation, name) for name in store.TERMS}


def _out_of_time(deadline: float) -> bool:
    return deadline - asyncio.get_running_loop().time() < _MIN_TO_TRY_S


def _redacted(words: ErrorDetails, upstream: Upstream) -> ErrorDetails:
    detail = tuple((path, upstream.redact(message)) for path, message in words.detail)
    return replace(words, message=upstream.redact(words.message), detail=detail)


def _pause_before_another(outcome: Outcome, tries: int) -> float | None:
    """Returns the seconds to wait before the same submit may be sent again; None where it may not."""
    if tries >= _MAX_TRIES:
        return None
    if outcome.verdict is Verdict.NOT_SENT:
        return _PAUSE_S * tries
    if outcome.verdict is Verdict.BUSY and outcome.retry_after_s is not None:
        return float(outcome.retry_after_s)
    return None


def reassign_credential(
    connection: Connection,
    generation_id: str,
    choices: Sequence[Choice],
    policy: SubmitPolicy,
    *,
    now_ms: int,
) -> Generation | None:
    """Moves a generation that is being sent, and provably made no job, to the first credential with room.

    Returns None where it is no longer being sent.

    Raises:
        Problem: UPSTREAM_BUSY, none has room.

    """
    return store.reassign_credential(
        connection, generation_id, decide.pick(connection, choices, policy, now_ms=now_ms)
    )


def close_as_not_sent(
    tenant_id: str, generation_id: str, outcome: Outcome, connection: Connection, now_ms: int
) -> None:
    """Rejects a generation that was recorded to be sent at once and never was, and frees its Idempotency-Key.

    Its row is then at version 1, or at version 2 where the rescue loop made it unknown. A row that was queued
    first has a later version and is left alone: whichever replica dequeued it sends it. The tenant's row is
    locked first, as by the submit: one whose commit is still under way ends before.
    """
    lock_tenant(connection, tenant_id)
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
    sent: Generation | None = None,
) -> Generation:
    """Tx 2: records the outcome of a submit, and returns the generation after it.

    An outcome that arrives after the rescue loop made the row unknown is late evidence and still counts. One
    that had been committed before, without this process being told, changes nothing: `version` is the row's
    version when it was sent, and by now the generation may have been queued and dispatched again. `sent` is
    the generation as it was committed before it was sent, for `advance`.
    """
    last = None if version is None else version + 1  # the version that the rescue loop makes
    to, changes = _move(outcome, kept)
    if outcome.verdict in problems.MAY_BE_SENT_AGAIN:
        back = _back_to_the_queue(connection, generation_id, outcome, now_ms=now_ms, last=last)
        if back is not None:
            return back
        # It provably made no job, and the caller is told to try again: the Idempotency-Key must be free for
        # that.
        changes |= {"idempotency_key": None, "fingerprint": None}
    generation = advance(
        connection,
        generation_id,
        to,
        reason=outcome.reason,
        now_ms=now_ms,
        up_to_version=last,
        known=sent if to is State.IN_QUEUE else None,
        **changes,
    )
    if generation is None and to is State.UNKNOWN:
        store.add_evidence(connection, generation_id, kept)
    generation = generation or store.find(connection, generation_id, None)
    if generation is None:  # rows are never deleted while a submit is under way
        raise LookupError(generation_id)
    return generation


def _back_to_the_queue(
    connection: Connection, generation_id: str, outcome: Outcome, *, now_ms: int, last: int | None
) -> Generation | None:
    """Returns the generation back in the queue; None where it is not queueable, or may not return once more.

    One that could not be sent keeps its place. One that was refused keeps it a few times, then goes to the
    end of its tenant's queue, and in the end is rejected, so that a job which is refused for its own sake
    does not hold up the others for ever.
    """
    generation = store.find(connection, generation_id, None)
    if generation is None or not generation.queueable:
        return None
    refused = outcome.verdict is not Verdict.NOT_SENT
    returns = generation.returns + refused
    may_be_its_own = (
        outcome.verdict is Verdict.REJECTED_CREDENTIAL and outcome.reason not in _REFUSES_EVERY_JOB
    )
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
    return store.set_ticket(connection, back, queue.next_ticket(connection, back.tenant_id, back.mode))


def _move(outcome: Outcome, kept: Mapping[str, Any]) -> tuple[State, dict[str, Any]]:
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return State.IN_QUEUE, {"upstream_request_id": outcome.upstream_request_id}
        case Verdict.UNKNOWN:
            return State.UNKNOWN, {"evidence": kept}
        case _:
            return State.REJECTED, {"evidence": kept, "error": problems.stored_error(outcome)}
