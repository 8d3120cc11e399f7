"""What an operator decides about a job of unknown fate."""

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from app.db.engine import Database
from app.generations import store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.clock import Clock
from app.upstream.credentials import Pool
from app.upstream.outcomes import BLIND, Seen, is_safe_id, observe_status


class ResolveError(ValueError):
    """It cannot be resolved so; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves unknown generations."""

    db: Database
    clock: Clock
    pool: Pool

    async def attach(self, generation_id: str, upstream_request_id: str) -> Generation:
        """Give it the upstream id that was found for it. The upstream is asked first whether it knows the id.

        Raises:
            ResolveError: it does not, or the id is another generation's, or this one is not unknown.

        """
        if not is_safe_id(upstream_request_id):
            raise ResolveError(f"{upstream_request_id[:60]!r} is no id of RunComfy's.")
        generation = await self._unknown(generation_id)
        credential = self.pool.of(generation.credential)
        if credential is None:
            raise ResolveError(f"its credential, {generation.credential!r}, is not configured any more.")
        observation = observe_status(await credential.upstream.status(upstream_request_id))
        if observation.seen is Seen.GONE:
            raise ResolveError(f"RunComfy does not know {upstream_request_id!r}.")
        if observation.seen in BLIND:
            raise ResolveError(f"RunComfy could not be asked ({observation.seen}); try again.")
        try:
            changed = await self.db.write(
                advance,
                generation_id,
                State.IN_QUEUE,
                reason="resolved_attached",
                now_ms=self.clock.now_ms(),
                only_from={State.UNKNOWN},
                upstream_request_id=upstream_request_id,
            )
        except IntegrityError as error:
            raise ResolveError(f"{upstream_request_id!r} belongs to another request.") from error
        return self._changed(changed)

    async def close(self, generation_id: str, *, charged: bool) -> Generation:
        """End it as lost. Where RunComfy charged for it, so does the tenant's hold; else it is given back.

        Raises:
            ResolveError: it is not unknown.

        """
        await self._unknown(generation_id)
        words = "charged" if charged else "did not charge"
        changed = await self.db.write(
            advance,
            generation_id,
            State.LOST,
            reason="resolved_charged" if charged else "resolved_not_charged",
            now_ms=self.clock.now_ms(),
            only_from={State.UNKNOWN},
            spent=charged,
            error={"code": "lost", "message": f"Its fate stayed unknown; RunComfy {words} for it."},
        )
        return self._changed(changed)

    async def _unknown(self, generation_id: str) -> Generation:
        generation = await self.db.read(store.find, generation_id, None)
        if generation is None:
            raise ResolveError(f"there is no request {generation_id!r}.")
        if generation.state is not State.UNKNOWN:
            raise ResolveError(f"request {generation_id} is {generation.state}, not unknown.")
        return generation

    def _changed(self, generation: Generation | None) -> Generation:
        if generation is None:
            raise ResolveError("somebody else resolved it just now.")
        return generation
