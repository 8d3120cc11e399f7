"""Following a job: at most one look upstream at a time and per freshness limit, however many ask."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.db.engine import Database
from app.generations import store
from app.generations.advance import apply_observation
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.strict_json import dumps, from_column
from app.kit.tasks import Tasks
from app.kit.telemetry import get_logger
from app.upstream.client import Upstream
from app.upstream.outcomes import BLIND, Observation, Seen, observe_result, observe_status

_log = get_logger("track")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A generation after a look at it; `blind` says why the look showed nothing, else it is None."""

    generation: Generation
    blind: Observation | None = None


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
    _under_way: dict[str, asyncio.Task[Sighting]] = field(default_factory=dict, init=False)

    async def refresh(self, generation: Generation, *, force: bool = False) -> Sighting:
        """The generation, looked at upstream where it is live and its row not fresh (or by `force`).

        What the upstream cannot tell changes nothing: the row is returned as it stands. A terminal row
        never causes a call.
        """
        if not generation.followable or generation.mode not in self.upstreams:
            return Sighting(generation)
        if not force and self._fresh(generation):
            return Sighting(generation)
        task = self._under_way.get(generation.id)
        if task is None:
            task = self.tasks.start(self._look(generation), name="look")
            self._under_way[generation.id] = task
            task.add_done_callback(lambda _: self._under_way.pop(generation.id, None))
        return await asyncio.shield(task)

    def _fresh(self, generation: Generation) -> bool:
        """Whether the last look is recent; a job that was never looked at has no queue position yet."""
        if generation.polled_at_ms is None:
            return False
        return 0 <= self.clock.now_ms() - generation.polled_at_ms < self.freshness_s * 1000

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

    async def _look(self, generation: Generation) -> Sighting:
        observation = await self._observe(generation)
        if observation.seen in BLIND:
            _report_blind(generation, observation)
        if observation.unknown_word is not None:
            _log.warning(
                "The upstream uses a status word that is not documented.",
                generation=generation.id,
                word=observation.unknown_word,
            )
        changed = await self.apply(generation, observation)
        return Sighting(changed, observation if observation.seen in BLIND else None)

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
        text = upstream.redact(dumps(observation.error).decode()).replace(upstream_request_id, generation.id)
        return replace(observation, error=from_column(text))


def _report_blind(generation: Generation, observation: Observation) -> None:
    report = _log.error if observation.seen is Seen.CREDENTIAL_REFUSED else _log.warning
    report(
        "A look at a job showed nothing.",
        generation=generation.id,
        seen=observation.seen,
        reason=observation.reason,
    )
