"""Whose turn it is among tenants who wait: start-time fair queueing (Goyal, Vin and Cheng 1996). Pure.

Every tenant who waits has a tag, the virtual time at which its next job may go, and the lowest tag goes first
(of equal ones the lowest id).
A job that goes costs its tenant STEP / weight of virtual time, so that over time tenants are served as their
weights say. The virtual time itself is where the last job went that was served. Whoever did not wait, or was
kept back by a limit of its own, begins at the virtual time: nothing is saved up, and nothing is owed.

What counts is jobs, whatever they cost and however long they run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

STEP: Final = 1_000_000
"""What a job costs a tenant of weight 1, in units of virtual time; whole numbers for every weight."""
MAX_WEIGHT: Final = 1000


@dataclass(frozen=True, slots=True)
class Flow:
    """A tenant who waits: its tag, its weight from 1 to MOST_WEIGHT, and how many of its jobs wait."""

    tenant_id: str
    tag: int
    weight: int
    queued: int

    @property
    def step(self) -> int:
        """What one job costs it."""
        return STEP // self.weight

    def starts_at(self, virtual: int) -> int:
        """The virtual time at which its next job goes."""
        return max(self.tag, virtual)


def ahead_of(own: Flow, before: int, others: Iterable[Flow], virtual: int) -> int:
    """How many jobs go before a tenant's, `before` of which are its own, if nobody else comes."""
    starts_at = own.starts_at(virtual) + before * own.step
    tag = starts_at if before else own.tag
    return before + sum(_earlier(other, starts_at, (tag, own.tenant_id), virtual) for other in others)


def _earlier(other: Flow, starts_at: int, own: tuple[int, str], virtual: int) -> int:
    """How many of another tenant's jobs go before a job that starts at that virtual time."""
    room = starts_at - other.starts_at(virtual)
    if room < 0:
        return 0
    count, rest = divmod(room, other.step)
    if rest:
        return min(other.queued, count + 1)
    # The next one has the same start: the lower tag goes first.
    tag = starts_at if count else other.tag
    return min(other.queued, count + ((tag, other.tenant_id) < own))
