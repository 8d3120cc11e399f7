"""Cancelling: the upstream's truth decides, and a cancel never says more than is known."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.refusals import of_blind_look
from app.generations.store import Generation
from app.generations.track import Tracker
from app.kit.telemetry import get_logger
from app.upstream.client import Upstream
from app.upstream.outcomes import BLIND, Seen, observe_cancel

_log = get_logger("cancel")


@dataclass(frozen=True, slots=True)
class Canceller:
    """Cancels generations."""

    tracker: Tracker
    upstreams: Mapping[str, Upstream]

    async def cancel(self, generation: Generation) -> Generation:
        """Cancel it where that is possible. It is cancelled exactly when the returned state says so.

        Repeating a cancel is harmless. A submit under way or of unknown fate cannot be cancelled: there is
        no upstream id to name.

        Raises:
            Problem: the upstream gave no usable answer; the cancel may or may not have been carried out.

        """
        if generation.state is State.ACCEPTED:
            return await self._cancel_held(generation)
        if not generation.followable or generation.mode not in self.upstreams:
            return generation
        upstream = self.upstreams[generation.mode]
        observation = observe_cancel(await upstream.cancel(generation.upstream_request_id or ""))
        if observation.seen in BLIND:
            _log.warning(
                "A cancel got no usable answer.",
                generation=generation.id,
                seen=observation.seen,
                reason=observation.reason,
            )
            raise of_blind_look(observation)
        if observation.seen is Seen.NOT_CANCELLABLE:
            return await self.tracker.refresh(generation, force=True)
        return await self.tracker.apply(generation, observation)

    async def _cancel_held(self, generation: Generation) -> Generation:
        cancelled = await self.tracker.db.write(
            advance,
            generation.id,
            State.CANCELLED,
            reason="cancelled_while_held",
            now_ms=self.tracker.clock.now_ms(),
            only_from={State.ACCEPTED},
        )
        if cancelled is not None:
            return cancelled
        return await self.tracker.find(generation.id, generation.tenant_id) or generation
