"""Polling jobs: one poll at a time per job, and one per freshness period, however many replicas are asked.

A replica that polls a job holds the lease on its row. The lease ends when the poll is recorded, or by itself
where the replica died. A poll is a GET, so that two at once would cost one call and do no harm.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, overload

from app.db.engines.engine import Database
from app.generations import leases, store
from app.generations.advance import Patience, apply_observation, poll_record_of
from app.generations.following.poll_buffer import PollBuffer
from app.generations.following.position import Positions
from app.generations.following.schedule import Schedule
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.log import Aside, get_logger
from app.kit.tasks import Tasks
from app.kit.traces import Link, Span
from app.upstream.credentials import Credential, Pool
from app.upstream.outcomes import (
    INCONCLUSIVE,
    Exchange,
    Observation,
    Seen,
    observe_cancel,
    observe_result,
    observe_status,
    parse_retry_after,
)

_log = get_logger("poll")
_MAX_AT_ONCE: Final = 256  # polls: with more, calls would queue behind one another past their deadlines
MAX_RETRY_AFTER_S: Final = 300
"""The longest Retry-After that polling obeys, so that the end of a job is not missed for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """Brings live generations up to date.

    A generation that was polled less than `freshness_s` ago is not polled again. `lease_s` is how long a poll
    may take.
    """

    db: Database
    clock: Clock
    pool: Pool
    tasks: Tasks
    poll_buffer: PollBuffer
    schedule: Schedule
    patience: Patience
    positions: Positions
    freshness_s: float
    lease_s: float
    _under_way: dict[str, asyncio.Task[Generation | None]] = field(default_factory=dict, init=False)

    async def refresh(self, generation: Generation, *, force: bool = False) -> Generation:
        """Returns the generation, polled first where it is live and its row stale, or where `force` is set.

        Where RunComfy gives no usable answer nothing changes: the row is returned as it stands, with its
        `stale_reason`. A final state never causes a call. A queued generation is returned with its position.
        """
        if generation.state is State.ACCEPTED:
            return await self.positions.with_position(generation)
        if not self._due(generation, force=force):
            return generation
        credential = self.pool.of(generation.credential)
        if credential is None:
            return generation
        if not credential.health.may_poll and not force:
            return replace(generation, stale_reason="upstream_paused")
        under_way = self._under_way.get(generation.id)
        if force and under_way is not None:
            # That poll began before the reason for which the caller forces one.
            await asyncio.wait({under_way})
            under_way = self._under_way.get(generation.id)  # a poll that began after it will do
        if under_way is None:
            if len(self._under_way) >= _MAX_AT_ONCE and not force:
                return generation  # the next caller, or the loop, will poll it
            under_way = self._start(generation.id, self._poll(generation, credential, force=force))
        seen = await asyncio.shield(under_way)
        return seen or await self.find(generation.id, generation.tenant_id) or generation

    def is_current(self, generation: Generation) -> bool:
        """Returns whether `refresh` would return the generation as it is, without asking or counting."""
        return generation.state is not State.ACCEPTED and not self._due(generation, force=False)

    def poll(self, claimed: Generation, credential: Credential) -> asyncio.Task[Generation | None]:
        """Starts a poll of a generation that the caller has leased, and returns its task."""
        return self._start(claimed.id, self._poll_claimed(claimed, credential, buffered=True))

    def _start(
        self, generation_id: str, work: Coroutine[Any, Any, Generation | None]
    ) -> asyncio.Task[Generation | None]:
        task: asyncio.Task[Generation | None] = self.tasks.start(work, name="poll")
        self._under_way[generation_id] = task
        task.add_done_callback(partial(self._forget, generation_id))
        return task

    def _forget(self, generation_id: str, task: asyncio.Task[Generation | None]) -> None:
        if self._under_way.get(generation_id) is task:
            del self._under_way[generation_id]

    def _due(self, generation: Generation, *, force: bool) -> bool:
        """Returns whether to poll. A job that was never polled is due: it has no queue position yet."""
        if not generation.followable:
            return False
        if force:
            return True
        now_ms = self.clock.now_ms()
        until_ms = generation.lease_until_ms or 0
        if now_ms < until_ms <= now_ms + self.lease_s * 1000:  # somebody is polling it
            return generation.id in self._under_way
        if generation.polled_at_ms is None:
            return True
        return not 0 <= now_ms - generation.polled_at_ms < self.freshness_s * 1000

    def lease_until_ms(self) -> int:
        """Returns when a lease that begins now ends."""
        return self.clock.now_ms() + int(self.lease_s * 1000)

    def furthest_poll_ms(self) -> int:
        """Returns the latest time at which a poll can be due.

        A row whose next poll is later was written before the clock was set back.
        """
        max_s = max(self.schedule.max_s, MAX_RETRY_AFTER_S, self.lease_s)
        return self.clock.now_ms() + int(max_s * 2000)

    async def apply(self, generation: Generation, observation: Observation) -> Generation:
        """Records an observation, and returns the generation after it."""
        return await self._apply(generation, observation, self.clock.now_ms(), retry_after_s=0)

    async def _apply(
        self, generation: Generation, observation: Observation, now_ms: int, *, retry_after_s: int
    ) -> Generation:
        changed = await self.db.write_for(
            generation.tenant_id,
            apply_observation,
            generation.id,
            observation,
            now_ms=now_ms,
            next_poll_at_ms=self._next_poll_ms(generation, now_ms, retry_after_s),
            patience=self.patience,
        )
        if changed is None:
            return generation
        if changed.state is State.COMPLETED and not generation.terminal:
            with Aside("how long jobs usually take"):
                lasted_ms = changed.changed_at_ms - changed.begun_at_ms
                self.positions.durations.learn(changed.model_id, lasted_ms)
        return changed

    def _next_poll_ms(self, generation: Generation, now_ms: int, retry_after_s: int) -> int:
        gap_ms = self.schedule.gap_ms(
            age_ms=now_ms - generation.begun_at_ms,
            usual_ms=self.positions.durations.usual_ms(generation.model_id),
            chance=random.random(),  # noqa: S311 - spreads load, guards nothing
        )
        next_ms = now_ms + max(gap_ms, retry_after_s * 1000)
        deadline_ms = generation.start_deadline_ms or 0
        if generation.state is State.IN_QUEUE and now_ms < deadline_ms:
            return min(next_ms, max(deadline_ms, now_ms + retry_after_s * 1000))
        return next_ms

    async def find(self, generation_id: str, tenant_id: str | None) -> Generation | None:
        """Returns the tenant's generation from its row, or None."""
        return await self.db.read(store.find, generation_id, tenant_id)

    async def _poll(self, read_before: Generation, credential: Credential, *, force: bool) -> Generation:
        now_ms = self.clock.now_ms()
        polled_before_ms = now_ms if force else now_ms - int(self.freshness_s * 1000)
        claimed = await self.db.write(
            leases.claim,
            read_before.id,
            now_ms=now_ms,
            lease_until_ms=self.lease_until_ms(),
            polled_before_ms=polled_before_ms,
            max_lease_ms=int(self.lease_s * 1000),
        )
        if claimed is not None:
            return await self._poll_claimed(claimed, credential)
        # It was polled since the caller read the row, or somebody is polling it now.
        generation = await self.find(read_before.id, read_before.tenant_id) or read_before
        if force and generation.followable:
            return await self._poll_claimed(generation, credential)
        return generation

    @overload
    async def _poll_claimed(self, generation: Generation, credential: Credential) -> Generation: ...

    @overload
    async def _poll_claimed(
        self, generation: Generation, credential: Credential, *, buffered: bool
    ) -> Generation | None: ...

    async def _poll_claimed(
        self, generation: Generation, credential: Credential, *, buffered: bool = False
    ) -> Generation | None:
        """Polls a generation, and returns it after the poll.

        The caller leased it, or is forced to poll beside whoever leases it. With `in_passing`, a poll that
        changed no state is recorded through the buffer and returns None.
        """
        submitted = Link(generation.trace_id, generation.id)
        with Span("poll", link=submitted, request=generation.id, model=generation.model_id) as span:
            return await self._poll_within(span, generation, credential, buffered=buffered)

    async def _poll_within(
        self, span: Span, generation: Generation, credential: Credential, *, buffered: bool
    ) -> Generation | None:
        try:
            observation, retry_after_s = await self._observe(generation, credential)
            _report(generation, observation)
            span.note(seen=observation.seen.value)
            now_ms = self.clock.now_ms()
            if buffered:
                record = poll_record_of(
                    generation,
                    observation,
                    now_ms=now_ms,
                    next_poll_at_ms=self._next_poll_ms(generation, now_ms, retry_after_s),
                    patience=self.patience,
                )
                if record is not None:
                    await self.poll_buffer.add(record)
                    return None
            return await self._apply(generation, observation, now_ms, retry_after_s=retry_after_s)
        except asyncio.CancelledError:
            # The process is stopping: another replica need not wait for the lease to end.
            await self._release(generation)
            raise

    async def _release(self, generation: Generation) -> None:
        try:
            await self.db.write(leases.release, generation.id, now_ms=self.clock.now_ms())
        except Exception:  # noqa: BLE001 - whatever it is, the lease ends
            _log.warning("A lease could not be released; it expires by itself.", generation=generation.id)

    async def _observe(self, generation: Generation, credential: Credential) -> tuple[Observation, int]:
        """Returns what RunComfy says of a job, and the seconds for which it asks not to be polled.

        It asks for the status and, where that says finished, for the result: only both together end a job. A
        job still in RunComfy's queue after its start deadline is cancelled.
        """
        upstream = credential.upstream
        upstream_request_id = generation.upstream_request_id or ""
        exchange = await upstream.status(upstream_request_id)
        observation = observe_status(exchange)
        if observation.seen is Seen.FINISHED:
            exchange = await upstream.result(upstream_request_id)
            observation = observe_result(exchange)
        elif observation.seen is Seen.IN_QUEUE and self._past_start_deadline(generation):
            exchange, observation = await self._cancel(credential, upstream_request_id, exchange, observation)
        with Aside("the health of a credential"):
            self.pool.record_poll(credential, exchange, observation)
        retry_after_s = self._retry_after_s(exchange) if observation.seen in INCONCLUSIVE else 0
        if observation.error is None:
            return observation, retry_after_s

        # RunComfy's error text is relayed, without our credential and with our id in place of its own.
        def reword(text: str) -> str:
            return upstream.redact(text).replace(upstream_request_id, generation.id)

        return replace(observation, error=_map_strings(observation.error, reword)), retry_after_s

    def _past_start_deadline(self, generation: Generation) -> bool:
        deadline_ms = generation.start_deadline_ms
        return deadline_ms is not None and deadline_ms <= self.clock.now_ms()

    async def _cancel(
        self,
        credential: Credential,
        upstream_request_id: str,
        polled: Exchange,
        observation: Observation,
    ) -> tuple[Exchange, Observation]:
        """Cancels a job in RunComfy's queue that is past its start deadline.

        Returns the cancel's exchange and observation or, where it did not succeed, those of the poll.
        """
        exchange = await credential.upstream.cancel(upstream_request_id)
        cancelled = observe_cancel(exchange)
        return (exchange, cancelled) if cancelled.seen is Seen.CANCELLED else (polled, observation)

    def _retry_after_s(self, exchange: Exchange) -> int:
        asked = parse_retry_after(exchange.headers.get("retry-after"), now_ms=self.clock.now_ms())
        return min(asked or 0, MAX_RETRY_AFTER_S)


def _map_strings(value: Any, reword: Callable[[str], str]) -> Any:
    """Returns the JSON value with every string in it, keys included, passed through `reword`."""
    if isinstance(value, str):
        return reword(value)
    if isinstance(value, list):
        return [_map_strings(member, reword) for member in value]
    if isinstance(value, dict):
        return {reword(key): _map_strings(member, reword) for key, member in value.items()}
    return value


def _report(generation: Generation, observation: Observation) -> None:
    if observation.seen in INCONCLUSIVE:
        report = _log.error if observation.seen is Seen.CREDENTIAL_REFUSED else _log.warning
        report(
            "A poll got no usable answer.",
            generation=generation.id,
            seen=observation.seen,
            reason=observation.reason,
        )
    if observation.unknown_status is not None:
        _log.warning(
            "The upstream sent a status that is not documented.",
            generation=generation.id,
            word=observation.unknown_status,
        )
