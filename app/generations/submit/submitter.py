"""Submits: from a caller's body to the answer.

A submit is two transactions with the sending between them, so that none is open during a network call. Tx 1
(`record`) inserts the generation and holds its price before anything is sent; tx 2 (`dispatch`) records what
became of it.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from app.auth.callers import NOBODY, Caller
from app.auth.principal import Principal
from app.catalog.catalog import Catalog
from app.catalog.model import Model
from app.db.engines.engine import Database, NotBegunProblem
from app.errors import (
    DATABASE_UNAVAILABLE,
    IDEMPOTENCY_IN_PROGRESS,
    MODEL_NOT_ALLOWED,
    MODEL_NOT_FOUND,
    UPSTREAM_NOT_CONFIGURED,
    Problem,
)
from app.generations import problems, token_limits
from app.generations.dispatch.dispatcher import Dispatcher
from app.generations.lifecycle import State
from app.generations.queue import decide
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation, SubmitIntent
from app.generations.submit import idempotency
from app.generations.submit.idempotency import fingerprint
from app.generations.submit.inspection import Inspector
from app.generations.submit.record import Admission, Recorded
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.json import dumps
from app.kit.log import get_logger
from app.kit.tasks import Tasks, has_ended
from app.kit.traces import Span
from app.quotas.account import Owner
from app.quotas.amounts import ordered, undeclared
from app.quotas.limits import Payer
from app.quotas.standing import Account, Standing
from app.upstream.credentials import Choice, Pool

_log = get_logger("submit")
_RECORD_WAIT_S = 1.0  # how long an answer waits for tx 2 beyond the deadline


@dataclass(frozen=True, slots=True)
class Submission:
    """A generation that was accepted, now or by an earlier submit with the same key (`replayed`).

    `standings` are the caller's limits after it, with whether another generation like it would fit; empty for
    a repetition.
    """

    generation: Generation
    replayed: bool
    standings: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Submits jobs, within `deadline_s` from the inspection of their files to RunComfy's answer.

    `lease_s` is how long a submit without an outcome is taken to be under way. `queueing` says whether
    generations are queueable where neither the API key nor the tenant has a setting of its own.
    """

    db: Database
    clock: Clock
    catalog: Catalog
    pool: Pool
    tasks: Tasks
    admission: Admission
    dispatcher: Dispatcher
    inspector: Inspector
    policy: SubmitPolicy
    lease_s: float
    deadline_s: float
    queueing: bool
    thresholds_crossed: Counter[int] = field(default_factory=Counter, init=False)

    async def submit(
        self,
        principal: Principal,
        model_id: str,
        body: dict[str, Any],
        *,
        trace_id: str,
        idempotency_key: str | None = None,
        start_deadline_ms: int | None = None,
        webhook_endpoint_id: str | None = None,
        keep_output_s: int | None = None,
        caller: Caller = NOBODY,
    ) -> Submission:
        """Submits one job, or returns the generation that an earlier submit with the same key made.

        Where the principal's generations are queueable, one that cannot be sent at once is accepted and
        queued. One that has not started by `start_deadline_ms` ends as `expired`, or is cancelled at
        RunComfy. `webhook_endpoint_id` is the webhook endpoint that hears of it. `keep_output_s` is the
        longest time for which copies of its output may be kept. `caller` is what is kept of who submits.

        Raises:
            Problem: it was refused here (nothing is recorded), or refused or not reached upstream (recorded
                as rejected), or its outcome is unknown (recorded as unknown), the latter two with the request
                id in `extra`; or the key belongs to a different submit, or to one that is still under way.

        """
        if webhook_endpoint_id is not None and principal.token is not None:
            raise problems.unknown_webhook("may not be named by a client token: a page has no say in this")
        wanted = None
        if idempotency_key is not None:
            wanted = fingerprint(principal.mode, model_id, body, webhook_endpoint_id)
        key_space = principal.key_space
        if idempotency_key is not None and wanted is not None:
            # Before any other check: a submit that was accepted stays so, whatever the catalogue says by now.
            earlier = await self.db.read(
                idempotency.find,
                principal.tenant_id,
                principal.mode,
                idempotency_key,
                wanted,
                key_space=key_space,
                token=principal.token,
            )
            if earlier is not None:
                return _replay(earlier)
        model = self.model(principal, model_id)
        deadline = asyncio.get_running_loop().time() + self.deadline_s
        with Span("probe", model=model.model_id):
            inspection = await self.inspector.admit(principal, model, body)
        body = inspection.body
        queueable = self.queueable(principal)
        choices = self.credentials(principal, queueable=queueable)
        now_ms, seconds = self.clock.now_ms(), model.seconds(body)
        intent = SubmitIntent(
            generation_id=new_id(now_ms),
            tenant_id=principal.tenant_id,
            kid=principal.kid,
            payer=_payer(principal),
            mode=principal.mode,
            model_id=model.model_id,
            input_json=dumps(body),
            media=inspection.media,
            amounts=ordered(model.price(body), seconds),
            undeclared=undeclared(seconds),
            price_version=model.pricing.version,
            settles_in=self.policy.settles_in,
            trace_id=trace_id,
            choices=choices,
            idempotency_key=idempotency_key,
            fingerprint=wanted,
            queueable=queueable,
            start_deadline_ms=start_deadline_ms,
            token=principal.token,
            key_space=key_space,
            caller=caller,
            webhook_endpoint_id=webhook_endpoint_id,
            mirror_keep_s=keep_output_s,
        )
        recorded = asyncio.Event()
        task = self.tasks.start(self._record_and_send(intent, now_ms, recorded, deadline), name="submit")
        left_s = deadline + _RECORD_WAIT_S - asyncio.get_running_loop().time()
        if not await has_ended(task, within_s=left_s):
            if not recorded.is_set() and queueable:
                raise problems.maybe_accepted(intent.generation_id)
            if not recorded.is_set():
                # The deadline has passed, so even if the submit is recorded now it will not be sent.
                raise Problem(
                    DATABASE_UNAVAILABLE,
                    "The database did not answer in time; nothing was sent.",
                    retry_after_s=2,
                )
            # The job was sent or is being sent, and its outcome is not recorded yet. The task goes on, and
            # nobody may send the job again.
            raise problems.unknown_outcome(intent.generation_id)
        written = task.result()
        if not written.is_new:
            return _replay(written.generation)
        return _answer(written.generation, written.standings)

    async def _record_and_send(
        self, intent: SubmitIntent, now_ms: int, recorded: asyncio.Event, deadline: float
    ) -> Recorded:
        """Runs tx 1, the sending and tx 2 in one task, so that no row is left without its submit."""
        with Span(
            "submit",
            of_request=intent.generation_id,
            request=intent.generation_id,
            model=intent.model_id,
            mode=intent.mode,
        ):
            return await self._record_and_send_within(intent, now_ms, recorded, deadline)

    async def _record_and_send_within(
        self, intent: SubmitIntent, now_ms: int, recorded: asyncio.Event, deadline: float
    ) -> Recorded:
        try:
            with Span("record"):
                written = await self.admission.record(
                    intent, self.policy, now_ms=now_ms, lease_until_ms=now_ms + int(self.lease_s * 1000)
                )
        except (Problem, asyncio.CancelledError) as error:
            if isinstance(error, NotBegunProblem) or (
                isinstance(error, Problem) and error.fault is not DATABASE_UNAVAILABLE
            ):
                raise
            # The commit may have succeeded though we were never told. Nothing was sent, and the caller is
            # told so: the row must not say otherwise, nor keep the Idempotency-Key. A queued row is
            # different: any replica may send it.
            named = intent.tenant_id, intent.generation_id
            self.tasks.start(self.dispatcher.close_unsent(*named), name="close-unsent")
            again = self.dispatcher.close_unsent(*named, late=True)
            self.tasks.start(again, name="close-unsent", cancel_on_drain=True)
            if intent.queueable and isinstance(error, Problem):
                raise problems.maybe_accepted(intent.generation_id) from error
            raise
        recorded.set()
        self._tell(intent, written)
        if not written.is_new or written.generation.state is State.ACCEPTED:
            return written
        sent = await self.dispatcher.dispatch(written.generation, intent.input_json, deadline=deadline)
        return Recorded(sent, is_new=True, standings=written.standings)

    def _tell(self, intent: SubmitIntent, written: Recorded) -> None:
        """Counts and logs the thresholds that were crossed."""
        for one in written.crossed:
            self.thresholds_crossed[one.percent] += 1
            _log.warning(
                "A threshold of a limit was crossed.",
                tenant=intent.tenant_id,
                mode=intent.mode,
                policy=one.limit.policy,
                kid=one.limit.scope.kid or None,
                model=one.limit.scope.model_id or None,
                window=one.window,
                percent=one.percent,
                amount=one.amount,
                used=one.used,
            )

    def model(self, principal: Principal, model_id: str) -> Model:
        """Returns the model of that id.

        Raises:
            Problem: MODEL_NOT_FOUND, MODEL_NOT_ALLOWED.

        """
        model = self.catalog.models.get(model_id)
        if model is None:
            raise Problem(MODEL_NOT_FOUND, f"There is no model {model_id[:200]!r} in the catalogue.")
        if not principal.may_use(model.model_id):
            raise Problem(MODEL_NOT_ALLOWED, f"This {principal.noun} may not use {model.model_id}.")
        return model

    def queueable(self, principal: Principal) -> bool:
        """Returns whether the principal's generations are queued when they cannot be sent at once."""
        return self.queueing if principal.queueing is None else principal.queueing

    async def account(self, principal: Principal, model_id: str | None) -> Account:
        """Returns the principal's limits and usage as they stand, for one model or for all (None)."""
        return await self.db.read(
            decide.account_of,
            Owner(principal.tenant_id, principal.mode),
            _payer(principal),
            model_id,
            self.policy,
            budget=() if principal.token is None else token_limits.budget_of(principal.token),
            now_ms=self.clock.now_ms(),
        )

    def credentials(self, principal: Principal, *, queueable: bool) -> tuple[Choice, ...]:
        """Returns the credentials that may be used now in the principal's mode, the next in turn first.

        It is empty where none may be used and the submit is queueable.

        Raises:
            Problem: UPSTREAM_NOT_CONFIGURED; UPSTREAM_CREDENTIAL_REFUSED, UPSTREAM_BUSY, UPSTREAM_UNREACHABLE
                where all are paused and the submit is not queueable.

        """
        if choices := self.pool.for_submit(principal.mode, queueable=queueable):
            return choices
        self.check_configured(principal)
        if queueable:
            return ()
        raise problems.credentials_paused(*self.pool.next_usable(principal.mode))

    def check_configured(self, principal: Principal) -> None:
        """Refuses a principal for whose mode no credential is configured.

        Raises:
            Problem: UPSTREAM_NOT_CONFIGURED.

        """
        if not self.pool.has(principal.mode):
            raise Problem(
                UPSTREAM_NOT_CONFIGURED, "No credential for RunComfy is configured on this gateway."
            )


def _payer(principal: Principal) -> Payer:
    """Returns whose limits the principal's generations count against, besides its tenant's."""
    token = principal.token
    if token is None:
        return Payer(principal.root_kid)
    return Payer(principal.root_kid, token.end_user or "", token.token_id)


def _answer(
    generation: Generation, standings: tuple[Standing, ...] = (), *, replayed: bool = False
) -> Submission:
    if generation.submit_failed and (problem := problems.of_record(generation)) is not None:
        raise problem
    return Submission(generation, replayed, standings)


def _replay(generation: Generation) -> Submission:
    """Returns the generation as it is now, as the answer to a repetition of its submit."""
    if generation.is_being_submitted:
        raise Problem(
            IDEMPOTENCY_IN_PROGRESS,
            "The first submit with this Idempotency-Key is still in progress.",
            retry_after_s=1,
            extra={"request_id": generation.id},
        )
    try:
        return _answer(generation, replayed=True)
    except Problem as problem:
        problem.replayed = True
        raise
