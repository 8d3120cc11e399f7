"""Kinds of submits that are measured beside one another, in interleaved rounds: the first is the baseline."""

import statistics
from dataclasses import dataclass, field
from typing import Final

from bench.load import Tally

CONNECTIONS: Final = (1, 16)


@dataclass(slots=True)
class Kind:
    """What is sent as the bearer, and what its rounds measured by the number of connections."""

    bearer: str
    tallies: dict[int, list[tuple[Tally, float]]] = field(default_factory=dict)


def print_kinds(kinds: dict[str, Kind]) -> None:
    """A table for each number of connections, with medians over the rounds."""
    first = next(iter(kinds.values()))
    for connections in CONNECTIONS:
        title = f"{connections} connections"
        print(f"\n{title:26}{'submits/s':>12}{'median ms':>12}{'p99 ms':>10}{'cpu us':>10}")
        base = first.tallies[connections]
        for name, kind in kinds.items():
            tallies = kind.tallies[connections]
            rps, p50, p99 = (
                statistics.median(getattr(one, what) for one, _ in tallies)
                for what in ("rps", "p50_ms", "p99_ms")
            )
            cpu_us = statistics.median(cpu for _, cpu in tallies)
            ratio = statistics.median(
                one.rps / other.rps for (one, _), (other, _) in zip(tallies, base, strict=True)
            )
            print(f"{name:26}{rps:12.0f}{p50:12.2f}{p99:10.2f}{cpu_us:10.0f}   x{ratio:.2f}")
