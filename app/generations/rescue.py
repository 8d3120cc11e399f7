"""Submits whose server died become visibly unknown, and the unknown ends by policy. Nothing is sent again."""

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
    unknown_refund_after_s: float = 86_400.0

    async def run_once(self) -> int:
        """Take submits whose lease is over for unknown, and close what stayed so. How many there were."""
        return await self._take() + await self._close()

    async def _take(self) -> int:
        rescued = 0
        while batch := await self.db.write(_take_for_unknown, now_ms=self.clock.now_ms()):
            rescued += len(batch)
            for generation_id in batch:
                _log.error(
                    "A submit's server died before its outcome was recorded; it is unknown.",
                    generation=generation_id,
                )
        return rescued

    async def _close(self) -> int:
        closed = 0
        now_ms = self.clock.now_ms()
        before_ms = now_ms - int(self.unknown_refund_after_s * 1000)
        while batch := await self.db.write(_close_unknown, before_ms=before_ms, now_ms=now_ms):
            closed += len(batch)
            for generation_id in batch:
                _log.warning("A job stayed unknown for too long; it is lost.", generation=generation_id)
        return closed


def _close_unknown(connection: Connection, *, before_ms: int, now_ms: int) -> list[str]:
    error = {"code": "lost", "message": "No answer of RunComfy's was ever found; it is taken for lost."}
    return [
        generation_id
        for generation_id in store.unknown_since(connection, before_ms=before_ms, limit=_BATCH)
        if advance(
            connection,
            generation_id,
            State.LOST,
            reason="unknown_for_too_long",
            now_ms=now_ms,
            only_from={State.UNKNOWN},
            error=error,
        )
    ]


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
