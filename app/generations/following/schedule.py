"""How often to look at a job. Pure.

A job is looked at a tenth of its age apart: often while it is young, seldom once it is old, and a job that
takes ten seconds is known to be over one second late. Where the model's usual duration is known, the gaps
stay below a tenth of that until the job has taken twice as long.
"""

from dataclasses import dataclass
from typing import Final

_SHARE: Final = 0.1  # of the age or the usual duration; also how much of a gap is left to chance
_OVERDUE: Final = 2.0
_LEARNT: Final = 0.2  # what the newest of a model's durations weighs: about the last ten count


@dataclass(frozen=True, slots=True)
class Schedule:
    """The shortest and the longest gap between two looks, in seconds."""

    min_s: float = 1.0
    max_s: float = 30.0

    def gap_ms(self, *, age_ms: int, usual_ms: float | None, chance: float) -> int:
        """Milliseconds until the next look. `chance`, from 0 to 1, spreads looks that began together."""
        gap_ms = max(0, age_ms) * _SHARE
        if usual_ms is not None and age_ms < usual_ms * _OVERDUE:
            gap_ms = min(gap_ms, usual_ms * _SHARE)
        gap_ms = min(max(gap_ms, self.min_s * 1000), self.max_s * 1000)
        return max(1, int(gap_ms * (1 - _SHARE * chance)))

    def longest_ms(self) -> int:
        """No row is due later than this, unless the upstream asked for it."""
        return int(self.max_s * 1000)


class Durations:
    """What each model's jobs usually take, learnt from those that this process saw completing."""

    def __init__(self) -> None:
        self._usual_ms: dict[str, float] = {}

    def usual_ms(self, model_id: str) -> float | None:
        """Milliseconds from submit to completion; None for a model of which none has been seen."""
        return self._usual_ms.get(model_id)

    def learn(self, model_id: str, duration_ms: int) -> None:
        """A job of this model took so long."""
        before = self._usual_ms.get(model_id)
        self._usual_ms[model_id] = (
            duration_ms if before is None else before + _LEARNT * (duration_ms - before)
        )
