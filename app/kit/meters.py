"""Meters: counts, and how long things take, kept by the process that does them. To note one costs little.

A library's meters cost some microseconds each, a fast read of ours sixteen in all. So these are plain
numbers, which `/metrics` puts into its form when it is asked. They are of one event loop, and take no lock.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The bounds of every histogram, in seconds; what took longer than the last is in one more bucket."""
Labels = tuple[str, ...]
"""The values of labels, in the order in which they are declared."""
Tally = Counter[Labels]
"""Counts by the values of labels."""


class Times:
    """How long one kind of thing took: a count for each bucket, the sum, and each bucket's last trace."""

    __slots__ = ("counts", "sum_s", "traces")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum_s = 0.0
        self.traces: list[tuple[str, float] | None] = [None] * (len(SECONDS) + 1)

    def note(self, took_s: float, trace_id: str = "") -> None:
        """Counts one that took so many seconds."""
        place = bisect_left(SECONDS, took_s)
        self.counts[place] += 1
        self.sum_s += took_s
        if trace_id:
            self.traces[place] = trace_id, took_s

    def add(self, other: "Times") -> None:
        """Adds what another has counted."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s
        self.traces = [more or one for one, more in zip(self.traces, other.traces, strict=True)]


class Meter:
    """How long things took, by the values of labels."""

    def __init__(self) -> None:
        self.all: dict[Labels, Times] = {}

    def of(self, *labels: str) -> Times:
        """Returns the times of these values; whoever notes often keeps what this returns."""
        times = self.all.get(labels)
        if times is None:
            times = self.all[labels] = Times()
        return times


class CallMeter:
    """The HTTP calls that a server answered, by method, route, status and the code of the error, if any.

    `untimed` are those whose length says nothing of the server: streams, and answers that callers asked to be
    held. Routes are templates, and methods those that we serve, so the number of labels is bounded.
    """

    def __init__(self) -> None:
        self.timed = Meter()
        self.untimed: Tally = Counter()

    def note(self, labels: Labels, took_s: float | None, trace_id: str) -> None:
        """Counts a call; `took_s` is None where it is untimed."""
        if took_s is None:
            self.untimed[labels] += 1
        else:
            self.timed.of(*labels).note(took_s, trace_id)

    def totals(self) -> Tally:
        """Returns the number of calls, timed or not."""
        found = Counter(self.untimed)
        for labels, times in self.timed.all.items():
            found[labels] += sum(times.counts)
        return found

    def by_route(self) -> dict[Labels, Times]:
        """Returns the times by method and route."""
        return merged(self.timed, 2)


def merged(meter: Meter, width: int) -> dict[Labels, Times]:
    """Returns a meter's times by the first `width` labels alone."""
    found: dict[Labels, Times] = {}
    for labels, times in meter.all.items():
        found.setdefault(labels[:width], Times()).add(times)
    return found


def top(tally: Mapping[Any, int], at: int, limit: int) -> Sequence[tuple[Labels, int]]:
    """Returns the counts of the `limit` values of a label that have the highest sums, in a stable order.

    The label is the one at the place `at`.
    """
    sums: Counter[str] = Counter()
    for labels, count in tally.items():
        sums[labels[at]] += count
    chosen = set(sorted(sums, key=lambda one: (-sums[one], one))[:limit])
    return [(labels, tally[labels]) for labels in sorted(tally) if labels[at] in chosen]
