"""The rescue loop: submits whose replica died become unknown, and unknown ones end by policy.

Nothing is sent again.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError

from app.db.engines.engine import Database
from app.generations import store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.kit.clock import Clock
from app.kit.log import get_logger

_log = get_logger("rescue")
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Rescuer:
    """Finds submits without an outcome.

    Every replica may run one: the compare-and-swap on the state decides which of them moves a row. An unknown
    generation is lost, and refunded, after `unknown_refund_after_s` seconds.
    """

    db: Database
    clock: Clock
    unknown_refund_after_s: float = 86_400.0

    async def run_once(self) -> int:
        """Makes submits unknown whose lease has ended, and those lost that stayed unknown for too long.

        Returns the number of generations moved.
        """
        now_ms = self.clock.now_ms()
        over = await self._move(
            State.DISPATCHING,
            State.UNKNOWN,
            before_ms=now_ms,
            reason="lease_over",
            line="A server died before the outcome of a submit was recorded; it is unknown.",
        )
        return over + await self._move(
            State.UNKNOWN,
            State.LOST,
            before_ms=now_ms - int(self.unknown_refund_after_s * 1000),
            reason="unknown_for_too_long",
            line="A request stayed unknown for too long and was closed as lost.",
            error={
                "code": "lost",
                "message": "RunComfy's answer was never received, so the request is closed as lost.",
            },
        )

    async def _move(
        self, source: State, to: State, *, before_ms: int, reason: str, line: str, **changes: Any
    ) -> int:
        moved: list[str] = []
        failed: set[str] = set()
        while True:
            waiting = await self.db.read(
                store.stuck_since, source, before_ms=before_ms, limit=_BATCH + len(failed)
            )
            left = [one for one in waiting if one not in failed]
            if not left:
                return len(moved)
            # Each in a transaction of its own: a tenant with many of them blocks no other tenant, and one
            # that cannot be moved stops no other.
            how = {"reason": reason, "now_ms": self.clock.now_ms(), "only_from": {source}, **changes}
            for generation_id in left:
                try:
                    done = await self.db.write(advance, generation_id, to, **how)
                except IntegrityError:
                    failed.add(generation_id)
                    _log.exception(
                        "A request could not change its state: its ledger is inconsistent.",
                        generation=generation_id,
                    )
                else:
                    if done is not None:
                        moved.append(generation_id)
                        _log.error(line, generation=generation_id)
