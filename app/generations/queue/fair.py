"""Fair turns among tenants with queued jobs: start-time fair queueing (Goyal, Vin and Cheng 1996). Pure.

Each tenant with a queue is a flow. Its start tag is the virtual time at which its next job may be sent; the
flow with the lowest start tag goes first (of equal ones, the one with the lowest tenant id).

A job that is sent moves its flow's start tag on by STEP / weight, so that over time tenants are served in
proportion to their weights. The virtual time is the start of the job that was served last. A flow that was
not queued, or was held up by a limit of its own, starts at the virtual time: it neither saves up turns nor
owes any.

What counts is the number of jobs, whatever they cost and however long they run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

STEP: Final = 1_000_000
"""What a job costs a flow of weight 1, in units of virtual time.

It is so large that STEP // weight, a whole number, is exact to 0.1 % for every weight.
"""
MAX_WEIGHT: Final = 1000


@dataclass(frozen=True, slots=True)
class Flow:
    """A tenant in the fair queue.

    `tag` is its start tag, `weight` a number from 1 to MAX_WEIGHT, `queued` the number of its queued jobs.
    """

    tenant_id: str
    tag: int
    weight: int
    queued: int

    @property
    def step(self) -> int:
        """What one job costs this flow, in units of virtual time."""
        return STEP // self.weight

    def starts_at(self, virtual: int) -> int:
        """Returns the virtual time at which its next job is sent."""
        return max(self.tag, virtual)


def ahead_of(own: Flow, before: int, others: Iterable[Flow], virtual: int) -> int:
    """Returns how many queued jobs go before one of a flow's, if no others are added.

    `before` is how many of them are the flow's own, `others` are the other flows.
    """
    starts_at = own.starts_at(virtual) + before * own.step
    tag = starts_at if before else own.tag
    return before + sum(_earlier(other, starts_at, (tag, own.tenant_id), virtual) for other in others)


def _earlier(other: Flow, starts_at: int, own: tuple[int, str], virtual: int) -> int:
    """Returns how many of another flow's jobs go before a job that starts at that virtual time.

    `own` is the start tag and the tenant id of the flow with that job.
    """
    room = starts_at - other.starts_at(virtual)
    if room < 0:
        return 0
    count, rest = divmod(room, other.step)
    if rest:
        return min(other.queued, count + 1)
    # The other flow's next job has the same start: the lower start tag goes first, then the lower tenant id.
    tag = starts_at if count else other.tag
    return min(other.queued, count + ((tag, other.tenant_id) < own))
