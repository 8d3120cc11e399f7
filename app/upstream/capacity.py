"""How many jobs RunComfy lets a credential have in flight, learnt from its refusals. Pure."""

from dataclasses import dataclass
from typing import Final

_GROWS_EVERY_MS: Final = 300_000  # then one more job is tried; seldom, because a refusal costs a pause
_FORGOTTEN_MS: Final = 1_800_000


@dataclass(frozen=True, slots=True)
class Capacity:
    """`learnt` jobs were in flight when RunComfy refused one more with a 429, at `at_ms`."""

    learnt: int
    at_ms: int

    def at(self, now_ms: int) -> int | None:
        """Returns how many jobs may be in flight now: one more for every five minutes since the refusal.

        None after half an hour: the refusal is forgotten.
        """
        age_ms = now_ms - self.at_ms
        if not 0 <= age_ms < _FORGOTTEN_MS:  # a negative age means that the clock was set back
            return None
        return self.learnt + age_ms // _GROWS_EVERY_MS
