"""How many jobs the upstream lets a credential have in flight, learnt from its refusals. Pure."""

from dataclasses import dataclass
from typing import Final

_GROWS_EVERY_MS: Final = 300_000  # one more place is tried then: a refusal costs a pause, and is to be seldom
_FORGOTTEN_MS: Final = 1_800_000


@dataclass(frozen=True, slots=True)
class Capacity:
    """`learnt` jobs were in flight when one more was refused with a 429, at `at_ms`."""

    learnt: int
    at_ms: int

    def at(self, now_ms: int) -> int | None:
        """How many may be in flight now: one more for every five minutes since; None after half an hour."""
        age_ms = now_ms - self.at_ms
        if not 0 <= age_ms < _FORGOTTEN_MS:  # or of a clock that was set back
            return None
        return self.learnt + age_ms // _GROWS_EVERY_MS
