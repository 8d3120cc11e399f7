"""When a call that failed is made again, and after how long. Pure: moments are given."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from reelgate_client.errors import ReelgateError


@dataclass(frozen=True)
class Retries:
    """How often, and within how many seconds, a call is made again that can be repeated safely.

    A `Retry-After` that is longer than what is left of them is not waited for: the refusal is raised.
    """

    tries: int = 6
    within_s: float = 60.0
    first_delay_s: float = 0.5
    max_delay_s: float = 8.0

    def patient(self) -> Retries:
        """Returns the same for following a request: it ends only after ten minutes without any answer."""
        return replace(self, tries=1_000_000, within_s=max(600.0, self.within_s))


class Patience:
    """What is left of the retries of one call."""

    def __init__(self, retries: Retries, now_s: float) -> None:
        self._retries = retries
        self.begin(now_s)

    def begin(self, now_s: float) -> None:
        """Begin anew, after something has succeeded."""
        self._failures = 0
        self._until_s = now_s + self._retries.within_s

    def delay_after(self, error: ReelgateError, now_s: float) -> float:
        """Returns for how many seconds to wait before the next try.

        Raises:
            ReelgateError: the error itself, where another try cannot help or may do harm.

        """
        self._failures += 1
        if not error.retryable or self._failures >= self._retries.tries:
            raise error
        doubled_s = self._retries.first_delay_s * 2.0 ** min(self._failures - 1, 20)
        usual_s = min(self._retries.max_delay_s, doubled_s)
        delay_s = max(error.retry_after_s or 0.0, usual_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        if now_s + delay_s > self._until_s:
            raise error
        return delay_s
