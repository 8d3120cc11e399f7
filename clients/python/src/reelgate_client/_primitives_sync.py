"""What the synchronous client needs; `_primitives_async` has the same for loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def sleep(delay_s: float) -> None:
    """Waits."""
    time.sleep(delay_s)


def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Returns what a function returns."""
    return work(*arguments)


def despite_cancellation(work: Callable[[], Any], within_s: float) -> None:  # noqa: ARG001 - a thread has no cancellation
    """Does a last thing."""
    work()
