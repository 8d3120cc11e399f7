"""Ten tenants on five places, drawn: `python -m tests.queue.shares` writes docs/shares.svg."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from app.db import revision
from tests.queue.queueing import market

WEIGHTS = {"flood": 1, "a": 1, "b": 1, "c": 2, "d": 3, "e": 1, "f": 2, "g": 2, "h": 3, "i": 4}
EARLY = ["flood", "a", "b", "c", "d"]
LATE = ["e", "f", "g", "h", "i"]
"""Who come when half of the time is over."""
WINDOW_S = 400
SLOTS, RUN_S = 5, 10


async def shares_over_time(database_url: str, folder: Path) -> list[tuple[int, str]]:
    """When each job was taken, in milliseconds from the start, and whose it was."""
    async with market(database_url, folder, slots=SLOTS, run_s=RUN_S) as place:
        for name, weight in WEIGHTS.items():
            await place.tenant(name, weight)
        began_ms = place.clock.now_ms()
        await place.submit("flood", 300)
        for names in (EARLY[1:], LATE):
            for name in names:
                await place.submit(name, 110)
            await place.seconds(WINDOW_S)
        return [(at_ms - began_ms, prompt.partition(" ")[0]) for at_ms, prompt in place.upstream.taken]


_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 760, 380, 46, 36, 120, 36
_COLOURS = {1: "#7a8794", 2: "#2f7ed8", 3: "#b8860b", 4: "#2e8b57"}
_FLOOD = "#c0392b"


def drawn(taken: list[tuple[int, str]]) -> str:
    """Jobs started so far, by tenant, over time; dashed, what the weights say."""
    end_ms = 2 * WINDOW_S * 1000
    counts = Counter(name for _, name in taken)
    most = max(counts.values())

    def at(ms: float, count: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * ms / end_ms
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * count / most
        return f"{x:.1f},{y:.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"',
        ' font-family="sans-serif" font-size="12" fill="none">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" fill="#222222">Jobs started, by tenant (weight): five places, ten',
        "seconds a job. Dashed: what the weights say.</text>",
    ]
    for second in range(0, 2 * WINDOW_S + 1, 100):
        x = at(second * 1000, 0).partition(",")[0]
        lines.append(
            f'<path d="M{x} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#e4e7ea"/>'
            f'<text x="{x}" y="{_HEIGHT - 16}" fill="#555555" text-anchor="middle">{second} s</text>'
        )
    for count in range(0, most + 1, 20):
        y = at(0, count).partition(",")[2]
        lines.append(f'<text x="{_LEFT - 8}" y="{y}" fill="#555555" text-anchor="end">{count}</text>')
    for name, weight in WEIGHTS.items():
        colour = _FLOOD if name == "flood" else _COLOURS[weight]
        starts = [at_ms for at_ms, whose in taken if whose == name]
        steps = " ".join(f"{at(ms, number)} {at(ms, number + 1)}" for number, ms in enumerate(starts))
        lines.append(
            f'<polyline points="{at(0 if name in EARLY else WINDOW_S * 1000, 0)} {steps}'
            f' {at(end_ms, len(starts))}" stroke="{colour}" stroke-width="1.5"/>'
        )
        ideal = [(0.0, 0.0)]
        for window, present in ((0, EARLY), (1, EARLY + LATE)):
            share = weight / sum(WEIGHTS[one] for one in present) if name in present else 0.0
            rate = SLOTS / RUN_S * share
            ideal.append(((window + 1) * WINDOW_S * 1000, ideal[-1][1] + rate * WINDOW_S))
        points = " ".join(at(ms, count) for ms, count in ideal)
        lines.append(f'<polyline points="{points}" stroke="{colour}" stroke-dasharray="3 4" opacity="0.7"/>')
    lines += _labels(counts, at, end_ms)
    return "\n".join([*lines, "</svg>", ""])


def _labels(counts: Counter[str], at: Callable[[float, float], str], end_ms: int) -> list[str]:
    """The tenants' names at the ends of their lines, one below the other."""
    lines, last = [], float("inf")
    for name, count in sorted(counts.items(), key=lambda one: one[1]):
        x, _, y = at(end_ms, count).partition(",")
        last = min(float(y) + 4, last - 13)
        colour = _FLOOD if name == "flood" else _COLOURS[WEIGHTS[name]]
        lines.append(
            f'<text x="{float(x) + 8:.1f}" y="{last:.1f}" fill="{colour}">'
            f"{name} ({WEIGHTS[name]}): {count}</text>"
        )
    return lines


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/reelgate.db"
        revision.upgrade(url)
        taken = asyncio.run(shares_over_time(url, Path(folder)))
    (Path(__file__).parents[2] / "docs" / "shares.svg").write_text(drawn(taken))


if __name__ == "__main__":
    main()
