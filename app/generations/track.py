"""Following a job: at most one look upstream at a time and per freshness limit, however many ask."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from app.db.engine import Database
from app.generations import store
from app.generations.advance import apply_observation
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.tasks import Tasks
from app.kit.telemetry import get_logger
from app.upstream.client import Upstream
from app.upstream.outcomes import BLIND, Observation, Seen, observe_result, observe_status

_log = get_logger("track")


@dataclass(frozen=True, slots=True)
class Tracker:
    """Brings live generations up to date.

    A row younger than `freshness_s` is not asked about again; after `missing_grace_s` of 404s a job is lost.
    """

    db: Database
    clock: Clock
    upstreams: Mapping[str, Upstream]
    tasks: Tasks
    freshness_s: float
    missing_grace_s: float
    _under_way: dict[str, asyncio.Task[Generation]] = field(default_factory=dict, init=False)

    async def refresh(self, generation: Generation, *, force: bool = False) -> Generation:
        """The generation, looked at upstream where it is live and its row not fresh (or by `force`).

        What the upstream cannot tell changes nothing: the row is returned as it stands, with its
        `stale_reason`. A terminal row never causes a call.
        """
        if not self._due(generation, force=force):
            return generation
        under_way = self._under_way.get(generation.id)
        if force and under_way is not None:
            # It began before whatever makes the caller insist.
            await asyncio.wait({under_way})
            under_way = self._under_way.get(generation.id)  # one that began after it will do
        if under_way is None:
            under_way = self.tasks.start(self._look(generation, force=force), name="look")
            self._under_way[generation.id] = under_way
            under_way.add_done_callback(partial(self._forget, generation.id))
        return await asyncio.shield(under_way)

    def _forget(self, generation_id: str, task: asyncio.Task[Generation]) -> None:
        if self._under_way.get(generation_id) is task:
            del self._under_way[generation_id]

    def _due(self, generation: Generation, *, force: bool) -> bool:
        """Whether to ask upstream. A job that was never asked about has no queue position yet."""
        if not generation.followable or generation.mode not in self.upstreams:
            return False
        if force or generation.polled_at_ms is None:
            return True
        return not 0 <= self.clock.now_ms() - generation.polled_at_ms < self.freshness_s * 1000

    async def apply(self, generation: Generation, observation: Observation) -> Generation:
        """Record an observation; the generation after it."""
        changed = await self.db.write(
            apply_observation,
            generation.id,
            observation,
            now_ms=self.clock.now_ms(),
            missing_grace_ms=int(self.missing_grace_s * 1000),
        )
        return changed or generation

    async def find(self, generation_id: str, tenant_id: str) -> Generation | None:
        """The tenant's generation as its row says."""
        return await self.db.read(store.find, generation_id, tenant_id)

    async def _look(self, read_before: Generation, *, force: bool) -> Generation:
        # The caller's row may be older than the end of another caller's look.
        generation = await self.find(read_before.id, read_before.tenant_id) or read_before
        if not self._due(generation, force=force):
            return generation
        observation = await self._observe(generation)
        if observation.seen in BLIND:
            _report_blind(generation, observation)
        if observation.unknown_word is not None:
            _log.warning(
                "The upstream uses a status word that is not documented.",
                generation=generation.id,
                word=observation.unknown_word,
            )
        return await self.apply(generation, observation)

    async def _observe(self, generation: Generation) -> Observation:
        """Status, and where that says finished, the result: only both together end a job."""
        upstream = self.upstreams[generation.mode]
        upstream_request_id = generation.upstream_request_id or ""
        observation = observe_status(await upstream.status(upstream_request_id))
        if observation.seen is Seen.FINISHED:
            observation = observe_result(await upstream.result(upstream_request_id))
        if observation.error is None:
            return observation

        # Its words are relayed; its id of the job and our credential are not.
        def reword(text: str) -> str:
            return upstream.redact(text).replace(upstream_request_id, generation.id)

        return replace(observation, error=_reworded(observation.error, reword))


def _reworded(value: Any, reword: Callable[[str], str]) -> Any:
    """The JSON value with every text in it, keys too, put in other words."""
    if isinstance(value, str):
        return reword(value)
    if isinstance(value, list):
        return [_reworded(member, reword) for member in value]
    if isinstance(value, dict):
        return {reword(key): _reworded(member, reword) for key, member in value.items()}
    return value


def _report_blind(generation: Generation, observation: Observation) -> None:
    report = _log.error if observation.seen is Seen.CREDENTIAL_REFUSED else _log.warning
    report(
        "A look at a job showed nothing.",
        generation=generation.id,
        seen=observation.seen,
        reason=observation.reason,
    )
