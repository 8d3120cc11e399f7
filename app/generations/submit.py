"""A submit: validate and price, record, send once, record what became of it, answer.

The row is committed before the upstream hears of it, so a crash at any point leaves a record that says how
far it came. Between the two transactions no connection is held.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.auth.principal import Principal
from app.catalog.catalog import Catalog
from app.catalog.model import Model
from app.catalog.validate import violations
from app.db.engine import Database
from app.errors import (
    INVALID_INPUT,
    MODEL_NOT_ALLOWED,
    MODEL_NOT_FOUND,
    UPSTREAM_NOT_CONFIGURED,
    FieldError,
    Problem,
)
from app.generations import refusals, store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.strict_json import dumps
from app.kit.tasks import Tasks
from app.kit.telemetry import get_logger
from app.upstream.client import Upstream
from app.upstream.outcomes import Exchange, Outcome, Verdict, evidence, judge_submit

_log = get_logger("submit")

_MOST_TRIES = 3
_PAUSE_S = 0.25  # before sending again what provably never left
_LEAST_TO_TRY_S = 1.0  # of the deadline, for another try to be worth it
_RECORD_WAIT_S = 1.0  # how long an answer waits for tx 2 beyond the deadline
_MOST_RECORD_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """Which media values a body may hold: plain http from these host:port pairs, and data: URIs or not."""

    http_hosts: frozenset[str]
    data_uris: bool


@dataclass(frozen=True, slots=True)
class Submitter:
    """Submits jobs. `lease_s` is how long a silent submit is believed to be under way."""

    db: Database
    clock: Clock
    catalog: Catalog
    upstreams: Mapping[str, Upstream]
    tasks: Tasks
    media_policy: MediaPolicy
    lease_s: float

    async def submit(
        self, principal: Principal, model_id: str, body: dict[str, Any], *, trace_id: str
    ) -> Generation:
        """Submit one job and return its generation, recorded as accepted by the upstream.

        Raises:
            Problem: it was refused here (nothing recorded), refused or not reached upstream (recorded as
                rejected), or its fate is unknown (recorded as unknown; `extra` has the request id).

        """
        model = self._model(principal, model_id)
        self._validate(model, body)
        upstream = self._upstream(principal)
        now_ms = self.clock.now_ms()
        generation_id = new_id(now_ms)
        add = partial(
            store.add,
            generation_id=generation_id,
            tenant_id=principal.tenant_id,
            kid=principal.kid,
            mode=principal.mode,
            model_id=model.model_id,
            input_document=body,
            price_microcredits=model.price(body),
            price_version=model.pricing.version if model.pricing else None,
            state=State.DISPATCHING,
            trace_id=trace_id,
            now_ms=now_ms,
            lease_until_ms=now_ms + int(self.lease_s * 1000),
        )
        task = self.tasks.start(self._record_and_send(add, upstream, dumps(body)), name="submit")
        try:
            async with asyncio.timeout(upstream.submit_deadline_s + _RECORD_WAIT_S):
                outcome, generation = await asyncio.shield(task)
        except TimeoutError:
            # Sent, or being sent, and not recorded yet: the task goes on, and nobody may send it again.
            raise refusals.unknown_outcome(generation_id) from None
        if outcome.verdict is Verdict.ACCEPTED and generation.upstream_request_id is not None:
            return generation
        raise refusals.of_submit(outcome, generation, upstream)

    def _model(self, principal: Principal, model_id: str) -> Model:
        model = self.catalog.get(model_id)
        if model is None:
            raise Problem(MODEL_NOT_FOUND, f"There is no model {model_id[:200]!r} in the catalogue.")
        if not principal.may_use(model.model_id):
            raise Problem(MODEL_NOT_ALLOWED, f"This API key may not use {model.model_id}.")
        return model

    def _validate(self, model: Model, body: dict[str, Any]) -> None:
        found = violations(
            model,
            body,
            http_hosts=self.media_policy.http_hosts,
            data_uris=self.media_policy.data_uris,
        )
        if found:
            errors = [FieldError(one.pointer, one.code, one.detail) for one in found]
            count = "1 violation" if len(errors) == 1 else f"{len(errors)} violations"
            raise Problem(
                INVALID_INPUT,
                f"{count} of the input schema of {model.model_id}; see `errors`.",
                errors=errors,
            )

    def _upstream(self, principal: Principal) -> Upstream:
        upstream = self.upstreams.get(principal.mode)
        if upstream is None:
            raise Problem(
                UPSTREAM_NOT_CONFIGURED, "No credential for RunComfy is configured on this gateway."
            )
        return upstream

    async def _record_and_send(
        self, add: Callable[[Connection], Generation], upstream: Upstream, body: bytes
    ) -> tuple[Outcome, Generation]:
        """Tx 1, the submit, tx 2: one task, so that no row is left without its submit."""
        deadline = asyncio.get_running_loop().time() + upstream.submit_deadline_s
        generation = await self.db.write(add)
        outcome, exchange = await self._send(generation, upstream, body, deadline)
        _log.info(
            "A submit was answered.",
            generation=generation.id,
            model=generation.model_id,
            mode=generation.mode,
            verdict=outcome.verdict,
            reason=outcome.reason,
        )
        if outcome.verdict is Verdict.REJECTED_CREDENTIAL:
            _log.error(
                "The upstream refuses our credential.",
                mode=generation.mode,
                reason=outcome.reason,
                code=outcome.words.code,
            )
        return outcome, await self._record(generation, upstream, outcome, exchange)

    async def _send(
        self, generation: Generation, upstream: Upstream, body: bytes, deadline: float
    ) -> tuple[Outcome, Exchange]:
        """Send it, and again before the deadline only where the last try provably made no job."""
        loop = asyncio.get_running_loop()
        tries = 1
        while True:
            exchange = await upstream.submit(generation.model_id, body, deadline_s=deadline - loop.time())
            outcome = judge_submit(exchange, now_ms=self.clock.now_ms())
            pause_s = _pause_before_another(outcome, tries)
            if pause_s is None or deadline - loop.time() - pause_s < _LEAST_TO_TRY_S:
                return outcome, exchange
            await self.clock.sleep(pause_s)
            tries += 1

    async def _record(
        self, generation: Generation, upstream: Upstream, outcome: Outcome, exchange: Exchange
    ) -> Generation:
        """Commit the outcome, trying for as long as this process lives: the answer is the only copy of it."""
        kept = evidence(exchange, outcome.reason)
        kept["body"] = upstream.redact(kept["body"])
        pause_s = _PAUSE_S
        while True:
            try:
                return await self.db.write(
                    record_outcome, generation.id, outcome, kept, now_ms=self.clock.now_ms()
                )
            except IntegrityError:
                # The upstream gave the id of another job: whose job this is cannot be told.
                outcome = Outcome(Verdict.UNKNOWN, "id_of_another_job")
            except Problem:
                _log.error(
                    "An outcome could not be recorded; trying again.",
                    generation=generation.id,
                    verdict=outcome.verdict,
                    upstream_request_id=outcome.upstream_request_id,
                )
                await self.clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _MOST_RECORD_PAUSE_S)


def _pause_before_another(outcome: Outcome, tries: int) -> float | None:
    """Seconds to wait before the same submit may be sent again; None when it may not."""
    if tries >= _MOST_TRIES:
        return None
    if outcome.verdict is Verdict.NOT_SENT:
        return _PAUSE_S * tries
    if outcome.verdict is Verdict.BUSY and outcome.retry_after_s is not None:
        return float(outcome.retry_after_s)
    return None


def record_outcome(
    connection: Connection, generation_id: str, outcome: Outcome, kept: Mapping[str, Any], *, now_ms: int
) -> Generation:
    """Tx 2: what became of a submit, and the row after it.

    An outcome that comes after the rescue loop took the row for unknown is late evidence and still counts.
    """
    to, changes = _move(outcome, kept)
    generation = advance(connection, generation_id, to, reason=outcome.reason, now_ms=now_ms, **changes)
    generation = generation or store.find(connection, generation_id, None)
    if generation is None:  # rows are never deleted while a submit is under way
        raise LookupError(generation_id)
    return generation


def _move(outcome: Outcome, kept: Mapping[str, Any]) -> tuple[State, dict[str, Any]]:
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return State.IN_QUEUE, {"upstream_request_id": outcome.upstream_request_id}
        case Verdict.UNKNOWN:
            return State.UNKNOWN, {"evidence": kept}
        case _:
            return State.REJECTED, {"evidence": kept, "error": refusals.stored_error(outcome)}
