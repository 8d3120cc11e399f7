"""A small story of one client: what it submits, and all that it was told, on a disk that outlives it."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import FakeClock

START_MS = 1_790_000_000_000
LEASE_S = 30.0
UNKNOWN_S = 3600.0
ENDPOINTS = 1  # of each tenant, which hears everything
PRICE, SECONDS = 150_000, 5
MOST = 6  # generations, at once and in all
TOP_UP = MOST * PRICE
MAX_POLLS = 5000  # only a hung test ever takes so many
STEERING = {
    "made": "canned,queue=0,run=0",
    "cancelled": "queued",
    "refused": "reject=422",
    "unclear": "malformed,canned,queue=0,run=0",  # a job is made upstream, and the answer cannot be read
    "ahead": "queued",  # it has the only place
    "waited": "canned,queue=0,run=0",
    "let_go": "queued",
}
QUEUEING = ("ahead", "waited", "let_go")
"""The second and the third wait: the third is cancelled, then the first, and the second is sent."""
STORIES = (("made", "cancelled"), ("refused", "unclear"), QUEUEING)
"""Told one after the other by one client: the second job of each finds the account in use."""
_TAKES = "statement: UPDATE turns SET"  # the last one with which a job leaves the queue
_COMMITTED = "commit: after"
_IN_DOUBT = frozenset({"network: send", "network: sent", "network: receive"})
"""The steps of a call at which an error leaves it open whether a job was made."""


class BriskClock(FakeClock):
    """Stands still; a short pause ends at once, a long one when the clock is moved past its end."""

    async def sleep(self, delay_s: float) -> None:
        if delay_s > 10:
            await super().sleep(delay_s)
        else:
            await asyncio.sleep(0)

    def restart(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._sleepers.clear()


@dataclass
class Story:
    """One tenant with one client, and all that the client was ever told, on a disk that outlives it.

    `at` is the number of the event at which the fault happens, `now_ms` how far the story's time has come.
    """

    path: Path
    jobs: tuple[str, ...]
    at: int | None = None
    tenant_id: str = ""
    key: str = ""
    marks: dict[str, str] = field(default_factory=dict)
    now_ms: int = START_MS
    told: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def note(self, **fact: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(fact) + "\n")
        self._take(fact)

    def read(self) -> "Story":
        for line in self.path.read_text().splitlines():
            self._take(json.loads(line))
        return self

    def _take(self, fact: dict[str, Any]) -> None:
        for name, value in fact.items():
            if name == "told":
                self.told.append(value)
            elif name == "began":
                self.marks.setdefault(*value)
            else:
                setattr(self, name, value)

    @property
    def queueing(self) -> bool:
        """Whether its tenant's jobs wait, with one in flight at a time."""
        return self.jobs == QUEUEING

    @property
    def max_in_flight(self) -> int:
        return 1 if self.queueing else MOST

    @property
    def fault(self) -> str | None:
        """What the fault happened at; None where the story was over before, or had none."""
        return None if self.at is None or len(self.events) < self.at else self.events[self.at - 1]

    @property
    def died(self) -> bool:
        """Whether the fault was the end of the process: an error is not the end of the story."""
        return self.fault is not None and len(self.events) == self.at

    @property
    def lost_while_sending(self) -> bool:
        """Whether it can never be known if the job that waited was sent, so that it is lost.

        The fault came after its leaving the queue was committed and before its outcome was. An error, whether
        it was foreseen or not, loses what may have gone out in part, and no answer that had come whole.
        """
        before = self.events[: self.at] if self.fault else []
        if _TAKES not in before:
            return False
        since = before[before.index(_TAKES) :]
        if since.count(_COMMITTED) != 1:
            return False
        if self.died:
            return True
        return since[-1] in _IN_DOUBT

    def ids(self, job: str) -> set[str]:
        """What the client was told that the job is called, where it was accepted."""
        return {one["request_id"] for one in self.told if one["job"] == job and one["status"] == 200}

    def final(self, job: str) -> dict[str, Any] | None:
        """The first answer to this submit that a client need not, and may not, ask for again."""
        return next((one for one in self.told if one["job"] == job and one["final"]), None)
