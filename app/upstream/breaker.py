"""Whether a credential may be used: a breaker for what cannot be reached, a pause for what refuses. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

MAX_FAILURES: Final = 10  # in a row, without one answer: what is slow now and then is not down
_MIN_MS: Final = 5_000
_MAX_MS: Final = 300_000
_FURTHEST_MS: Final = 25 * 3_600_000  # a Retry-After is at most a day; what is further is of another clock


class Condition(StrEnum):
    """`closed`: in use. `open`: not, until a moment. `half_open`: until a look shows that it is well again.

    A look costs nothing; a submit would.
    """

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Health:
    """How a credential fares.

    `failures` counts calls in a row that got no answer; `openings` how often it was opened since a submit was
    last accepted, each time for twice as long. `until_ms` is when it may be tried again, 0 while it is
    closed; `looks_too` whether looks at jobs are held back as well as submits. `reason` is a constant word.
    """

    failures: int = 0
    openings: int = 0
    until_ms: int = 0
    looks_too: bool = False
    reason: str = ""

    def condition(self, now_ms: int) -> Condition:
        """What it is at a moment."""
        if self.may_submit:
            return Condition.CLOSED
        return Condition.OPEN if now_ms < self.until_ms <= now_ms + _FURTHEST_MS else Condition.HALF_OPEN

    @property
    def may_submit(self) -> bool:
        """Whether jobs may be sent."""
        return not self.until_ms

    @property
    def on_trial(self) -> bool:
        """Whether it was left alone, may be used again, and has taken no job since."""
        return self.may_submit and self.openings > 0

    @property
    def may_poll(self) -> bool:
        """Whether jobs may be looked at."""
        return self.may_submit or not self.looks_too

    def retry_after_s(self, now_ms: int) -> int:
        """Seconds until it is worth asking again."""
        if self.condition(now_ms) is not Condition.OPEN:  # a trial is at hand, whatever the clock was before
            return 1
        return max(1, -(-(self.until_ms - now_ms) // 1000) + 1)

    def answered(self) -> "Health":
        """After an answer of any kind, however bad: it can be reached."""
        return replace(self, failures=0) if self.failures and self.may_submit else self

    def accepted(self) -> "Health":
        """After a job was taken."""
        return Health() if self.may_submit else self

    def recovered(self) -> "Health":
        """After a trial went well. It is opened for longer if the next submit shows otherwise."""
        return Health(openings=self.openings)

    def failed(self, reason: str, now_ms: int) -> "Health":
        """After a call without an answer: the tenth in a row opens it, one that is a trial does at once."""
        failures = self.failures + 1
        if self.may_submit and failures < MAX_FAILURES:
            return replace(self, failures=failures)
        return self._opened(failures, reason, now_ms, None, looks_too=True)

    def refused(self, reason: str, now_ms: int, *, retry_after_s: int | None, looks_too: bool) -> "Health":
        """After an answer that it may not be used: at once, for as long as the upstream asks, if it does."""
        return self._opened(self.failures, reason, now_ms, retry_after_s, looks_too=looks_too)

    def _opened(
        self, failures: int, reason: str, now_ms: int, retry_after_s: int | None, *, looks_too: bool
    ) -> "Health":
        if self.condition(now_ms) is Condition.OPEN:  # what was under way says it once more
            return replace(self, failures=failures, looks_too=self.looks_too or looks_too)
        pause_ms = min(_MIN_MS * 2 ** min(self.openings, 10), _MAX_MS)
        if retry_after_s is not None:
            pause_ms = max(1000, retry_after_s * 1000)
        return Health(failures, self.openings + 1, now_ms + pause_ms, looks_too, reason)
