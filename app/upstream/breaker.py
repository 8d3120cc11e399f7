"""Whether a credential may be used: a circuit breaker for lost answers, and a pause after refusals. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

MAX_FAILURES: Final = 10  # calls in a row without an answer: an upstream that is slow at times is not down
_MIN_MS: Final = 5_000
_MAX_MS: Final = 300_000
# A Retry-After is at most a day: a later time was written before the clock was set back.
_MAX_PAUSE_MS: Final = 25 * 3_600_000


class Condition(StrEnum):
    """The state of a credential's breaker.

    `CLOSED`: it is in use. `OPEN`: it is paused until some time. `HALF_OPEN`: the pause is over, and a poll
    is to show whether it works again. A poll costs nothing; a submit would.
    """

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Health:
    """How well a credential works.

    `failures` counts calls in a row that got no answer. `openings` counts how often its breaker was opened
    since a submit was last accepted; each pause is twice as long as the one before. `until_ms` is when it may
    be tried again, 0 while the breaker is closed. `looks_too` says whether polls are paused as well as
    submits. `reason` is one of a few constant words.
    """

    failures: int = 0
    openings: int = 0
    until_ms: int = 0
    looks_too: bool = False
    reason: str = ""

    def condition(self, now_ms: int) -> Condition:
        """Returns the state of the breaker at that time."""
        if self.may_submit:
            return Condition.CLOSED
        return Condition.OPEN if now_ms < self.until_ms <= now_ms + _MAX_PAUSE_MS else Condition.HALF_OPEN

    @property
    def may_submit(self) -> bool:
        """Whether jobs may be sent."""
        return not self.until_ms

    @property
    def on_trial(self) -> bool:
        """Whether it is in use again after a pause, and no submit has been accepted since."""
        return self.may_submit and self.openings > 0

    @property
    def may_poll(self) -> bool:
        """Whether jobs may be polled."""
        return self.may_submit or not self.looks_too

    def retry_after_s(self, now_ms: int) -> int:
        """Returns the seconds until another try is worthwhile."""
        if self.condition(now_ms) is not Condition.OPEN:  # a trial comes next, whatever the clock was
            return 1
        return max(1, -(-(self.until_ms - now_ms) // 1000) + 1)

    def answered(self) -> "Health":
        """Returns the health after an answer of any kind, however bad: RunComfy can be reached."""
        return replace(self, failures=0) if self.failures and self.may_submit else self

    def accepted(self) -> "Health":
        """Returns the health after a job was accepted."""
        return Health() if self.may_submit else self

    def recovered(self) -> "Health":
        """Returns the health after a successful trial.

        `openings` is kept: if the next submit fails, the pause is longer than the last one.
        """
        return Health(openings=self.openings)

    def failed(self, reason: str, now_ms: int) -> "Health":
        """Returns the health after a call without an answer.

        The tenth in a row opens the breaker; a failed trial opens it again at once.
        """
        failures = self.failures + 1
        if self.may_submit and failures < MAX_FAILURES:
            return replace(self, failures=failures)
        return self._opened(failures, reason, now_ms, None, looks_too=True)

    def refused(self, reason: str, now_ms: int, *, retry_after_s: int | None, looks_too: bool) -> "Health":
        """Returns the health after an answer that the credential may not be used: the breaker opens at once.

        `retry_after_s` is the pause that RunComfy asks for; None where it names none.
        """
        return self._opened(self.failures, reason, now_ms, retry_after_s, looks_too=looks_too)

    def _opened(
        self, failures: int, reason: str, now_ms: int, retry_after_s: int | None, *, looks_too: bool
    ) -> "Health":
        if self.condition(now_ms) is Condition.OPEN:  # the answer of a call that was under way when it opened
            return replace(self, failures=failures, looks_too=self.looks_too or looks_too)
        pause_ms = min(_MIN_MS * 2 ** min(self.openings, 10), _MAX_MS)
        if retry_after_s is not None:
            pause_ms = max(1000, retry_after_s * 1000)
        return Health(failures, self.openings + 1, now_ms + pause_ms, looks_too, reason)
