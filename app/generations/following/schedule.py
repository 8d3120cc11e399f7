"""How often to poll a job. Pure.

The gap between two polls is a tenth of the job's age: short while it is young, long once it is old, and a job
that takes ten seconds is known to be over at most one second late. Where the model's usual duration is known,
the gap stays below a tenth of that until the job has taken twice as long.
"""

from dataclasses import dataclass
from typing import Final

_SHARE: Final = 0.1  # of the age or the usual duration; also the largest part of a gap that is random
_OVERDUE: Final = 2.0
_LEARNT: Final = 0.2  # weight of a model's newest duration: about the last ten count


@dataclass(frozen=True, slots=True)
class Schedule:
    """The shortest and the longest gap between two polls, in seconds."""

    min_s: float = 1.0
    max_s: float = 30.0

    def gap_ms(self, *, age_ms: int, usual_ms: float | None, chance: float) -> int:
        """Returns the milliseconds until the next poll of a job.

        `age_ms` counts from when the job was sent, `usual_ms` is the usual duration of its model, None where
        it is unknown. `chance`, a random number from 0 to 1, spreads polls that began together.
        """
        gap_ms = max(0, age_ms) * _SHARE
        if usual_ms is not None and age_ms < usual_ms * _OVERDUE:
            gap_ms = min(gap_ms, usual_ms * _SHARE)
        gap_ms = min(max(gap_ms, self.min_s * 1000), self.max_s * 1000)
        return max(1, int(gap_ms * (1 - _SHARE * chance)))

    def max_gap_ms(self) -> int:
        """Returns the longest gap in milliseconds: no poll is later, unless RunComfy asked for it."""
        return int(self.max_s * 1000)


class Durations:
    """The usual duration of each model's jobs, learnt from those that this process saw complete."""

    def __init__(self) -> None:
        self._usual_ms: dict[str, float] = {}

    def usual_ms(self, model_id: str) -> float | None:
        """Returns the usual milliseconds from sending to completion; None for a model not seen before."""
        return self._usual_ms.get(model_id)

    def learn(self, model_id: str, duration_ms: int) -> None:
        """Takes in the duration of one completed job of this model."""
        before = self._usual_ms.get(model_id)
        self._usual_ms[model_id] = (
            duration_ms if before is None else before + _LEARNT * (duration_ms - before)
        )
