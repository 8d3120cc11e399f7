"""Admitting submits: tx 1, one at a time per tenant, and one refusal shared by all who came before it.

In a burst against an exhausted limit, every submit would ask the database the same question. A refusal that
was decided after a submit had arrived, while it waited for its tenant's keyed lock, applies to it as well.
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
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer
from app.quotas.problem import QuotaProblem, refused
from app.quotas.standing import Standing

_MAX_REMEMBERED: Final = 1_000
_Question = tuple[str, str, Payer, str, Amounts, bool]  # what the decision depends on


@dataclass(frozen=True, slots=True)
class Admission:
    """Records intents; remembers the last refusal of each question, for submits that arrived before it."""

    db: Database
    _ticket: "count[int]" = field(default_factory=count, init=False)
    _refusals: OrderedDict[_Question, tuple[int, Sequence[Standing]]] = field(
        default_factory=OrderedDict, init=False
    )

    async def record(
        self, intent: SubmitIntent, policy: SubmitPolicy, *, now_ms: int, lease_until_ms: int
    ) -> Recorded:
        """Runs tx 1 and returns the generation of this intent, new or from an earlier submit with its key.

        Raises:
            Problem: IDEMPOTENCY_MISMATCH, QUOTA_EXCEEDED, QUOTA_EXHAUSTED, or DATABASE_UNAVAILABLE.

        """
        question = (
            intent.tenant_id,
            intent.mode,
            intent.payer,
            intent.model_id,
            intent.amounts,
            intent.queueable,
        )
        came = next(self._ticket)
        async with self.db.serialized(intent.tenant_id):
            began = next(self._ticket)
            decided, standings = self._refusals.get(question, (-1, ()))
            problem = refused(standings, queueable=intent.queueable)
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
        """Returns what an earlier submit with the same key made, or raises the problem.

        A repetition uses no quota, so it is not refused.
        """
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
