"""Metrics of the mirror: this process's copies, and what waits at all servers."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from app.api.internal import families
from app.mirror.backlog import Waiting
from app.mirror.loop import Mirror

_STATUS: Final = "status_"
_TOLD_APART: Final = frozenset({"status_403", "status_404", "status_410", "status_429"})


def of_process(mirror: Mirror) -> Iterator[Metric]:
    """Yields the metrics of what this process copied."""
    attempts = families.ASSET_ATTEMPTS.new()
    by_class: Counter[str] = Counter()
    for outcome, count in mirror.attempts.items():
        by_class[_class_of(outcome)] += count
    for name, count in sorted(by_class.items()):
        attempts.add_metric([name], count)
    yield attempts
    yield families.ASSET_BYTES.of(mirror.copied_bytes)
    yield families.ASSETS_UNDER_WAY.of(mirror.under_way)


def of_rows(waiting: Waiting, now_ms: int) -> Iterator[Metric]:
    """Yields the metrics of what waits."""
    yield families.ASSETS_WAITING.of(waiting.assets)
    yield families.ASSETS_LATE.of(waiting.late_s(now_ms))


def _class_of(outcome: str) -> str:
    """Returns the class of a status such as 503, so that no server decides how many there are."""
    if outcome.startswith(_STATUS) and outcome not in _TOLD_APART:
        return f"{outcome[: len(_STATUS) + 1]}xx"
    return outcome
