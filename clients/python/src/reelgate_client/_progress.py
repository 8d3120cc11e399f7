"""What a caller is told while a request is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How a request stands. `state` is more detailed than `status`, which is RunComfy's word."""

    request_id: str
    state: str
    status: str
    queue_position: int | None
    """How many requests are ahead of it, where that is known."""
    elapsed_s: float
    """Since the waiting began."""
    final: bool


OnProgress = Callable[[Progress], object]
"""A plain function, which is called for every change and every new position in the queue."""
