"""Submits whose server died: their lease runs out and they become visibly unknown. Nothing is sent again."""

from dataclasses import dataclass

from sqlalchemy import Connection

from app.db.engine import Database
from app.generations import store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.kit.clock import Clock
from app.kit.telemetry import get_logger

_log = get_logger("rescue")
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Rescuer:
    """Finds submits without an outcome. Every replica may run one: the state decides who is first."""

    db: Database
    clock: Clock

    async def run_once(self) -> int:
        """Take every submit whose lease is over for unknown. How many there were."""
        rescued = 0
        while batch := await self.db.write(_take_for_unknown, now_ms=self.clock.now_ms()):
            rescued += len(batch)
            for generation_id in batch:
                _log.error(
                    "A submit's server died before its outcome was recorded; it is unknown.",
                    generation=generation_id,
                )
        return rescued


def _take_for_unknown(connection: Connection, *, now_ms: int) -> list[str]:
    return [
        generation_id
        for generation_id in store.leases_over(connection, now_ms=now_ms, limit=_BATCH)
        if advance(
            connection,
            generation_id,
            State.UNKNOWN,
            reason="lease_over",
            now_ms=now_ms,
            only_from={State.DISPATCHING},
        )
    ]
