"""Admitting submits: tx 1 in turn for each tenant, and one refusal for all who waited when it was made.

A burst against a limit that is used up would have every submit ask the database the same question. What
was decided while a submit waited for its turn is true for that submit as well: it too came too late.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from app.db.engine import Database
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import SubmitIntent
from app.generations.submit import idempotency, record
from app.generations.submit.record import Recorded
from app.quotas.limits import Payer, Standing
from app.quotas.refusal import QuotaProblem, refused

_MAX_REMEMBERED: Final = 1_000
_Question = tuple[str, str, Payer, str, int, bool]  # what the answer hangs on


@dataclass(frozen=True, slots=True)
class Admission:
    """Records intents. It remembers the last refusal of each question, for those alone who came before it."""

    db: Database
    _ticket: "count[int]" = field(default_factory=count, init=False)
    _refusals: OrderedDict[_Question, tuple[int, Sequence[Standing]]] = field(
        default_factory=OrderedDict, init=False
    )

    async def record(
        self, intent: SubmitIntent, policy: SubmitPolicy, *, now_ms: int, lease_until_ms: int
    ) -> Recorded:
        """Tx 1: the generation of this intent, new or from an earlier submit with its key.

        Raises:
            Problem: IDEMPOTENCY_MISMATCH, QUOTA_EXCEEDED, QUOTA_EXHAUSTED, or DATABASE_UNAVAILABLE.

        """
        question = (
            intent.tenant_id,
            intent.mode,
            intent.payer,
            intent.model_id,
            intent.price_microcredits,
            intent.queueable,
        )
        came = next(self._ticket)
        async with self.db.serialized(intent.tenant_id):
            began = next(self._ticket)
            decided, standings = self._refusals.get(question, (-1, ()))
            problem = refused(standings, queueable=intent.queueable, to_client=intent.token_id is not None)
            if came < decided and problem is not None:
                return await self._earlier(intent, problem)
            try:
                return await self.db.write(
                    record.record, intent, policy, now_ms=now_ms, lease_until_ms=lease_until_ms
                )
            except QuotaProblem as problem:
                self._remember(question, began, problem.standings)
                raise

    async def _earlier(self, intent: SubmitIntent, problem: QuotaProblem) -> Recorded:
        """What an earlier submit with the same key made; a repetition takes nothing, so it is not refused."""
        if intent.idempotency_key is not None:
            existing = await self.db.read(
                idempotency.find,
                intent.tenant_id,
                intent.mode,
                intent.idempotency_key,
                intent.fingerprint or "",
                key_space=intent.key_space,
                token=intent.token,
            )
            if existing is not None:
                return Recorded(existing, is_new=False)
        raise problem

    def _remember(self, question: _Question, began: int, standings: Sequence[Standing]) -> None:
        self._refusals[question] = (began, standings)
        self._refusals.move_to_end(question)
        while len(self._refusals) > _MAX_REMEMBERED:
            self._refusals.popitem(last=False)
