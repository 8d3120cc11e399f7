"""Cancelling: RunComfy's answer decides, and the gateway never claims more than is known."""

from dataclasses import dataclass
from typing import Final

from app.generations.advance import advance
from app.generations.following.tracker import Tracker
from app.generations.following.watch import Watch
from app.generations.lifecycle import State
from app.generations.problems import of_inconclusive_poll
from app.generations.store import Generation
from app.kit.log import Aside, get_logger
from app.upstream.outcomes import INCONCLUSIVE, Seen, observe_cancel

_log = get_logger("cancel")
_TO_BE_SENT: Final = frozenset({State.ACCEPTED, State.DISPATCHING})


@dataclass(frozen=True, slots=True)
class Canceller:
    """Cancels generations.

    A job that is being sent has no upstream id to cancel yet: a cancel waits up to `patience_s` seconds for
    it.
    """

    tracker: Tracker
    watch: Watch
    patience_s: float

    async def cancel(self, generation: Generation) -> Generation:
        """Cancels a generation where that is possible; only the returned state says whether it is cancelled.

        A queued generation is cancelled at once. While one is being sent, the cancel waits for the outcome.
        Repeating a cancel is harmless. An unknown generation cannot be cancelled: there is no upstream id.

        Raises:
            Problem: RunComfy gave no usable answer; the cancel may or may not have been carried out.

        """
        clock = self.tracker.clock
        until_ms = clock.now_ms() + int(self.patience_s * 1000)
        while generation.state in _TO_BE_SENT:
            if generation.state is State.ACCEPTED:
                generation = await self._cancel_held(generation)
            elif (left_ms := until_ms - clock.now_ms()) > 0:  # it may return to the queue
                generation = await self.watch.until(
                    generation, lambda one: one.state is not State.DISPATCHING, within_s=left_ms / 1000
                )
            else:
                break
        credential = self.tracker.pool.of(generation.credential)
        if not generation.followable or credential is None:
            return generation
        exchange = await credential.upstream.cancel(generation.upstream_request_id or "")
        observation = observe_cancel(exchange)
        with Aside("the health of a credential"):
            self.tracker.pool.record_poll(credential, exchange, observation)
        if observation.seen in INCONCLUSIVE:
            _log.warning(
                "A cancel got no usable answer.",
                generation=generation.id,
                seen=observation.seen,
                reason=observation.reason,
            )
            raise of_inconclusive_poll(observation)
        if observation.seen is Seen.NOT_CANCELLABLE:
            return await self.tracker.refresh(generation, force=True)
        return await self.tracker.apply(generation, observation)

    async def _cancel_held(self, generation: Generation) -> Generation:
        cancelled = await self.tracker.db.write_for(
            generation.tenant_id,
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
