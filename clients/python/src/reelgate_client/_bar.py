"""Progress in a terminal, on standard error: a bar where rich is there, else lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from reelgate_client._progress import Progress


class Show(Protocol):
    """What is shown of a request and of a download."""

    def progress(self, one: Progress) -> None:
        """Shows how a request stands."""

    def bytes(self, done: int, total: int | None) -> None:
        """Shows how much of a file is there."""


class Lines:
    """A line for each change, and none for bytes."""

    def progress(self, one: Progress) -> None:
        """Prints how a request stands."""
        print(f"{one.elapsed_s:6.1f} s  {said(one)}", file=sys.stderr, flush=True)  # noqa: T201 - it is shown to people

    def bytes(self, done: int, total: int | None) -> None:
        """Prints nothing."""


class _Bar:
    """A spinner with the state, then a bar for the file."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown
        self._task = shown.add_task("submitted", total=None)

    def progress(self, one: Progress) -> None:
        self._shown.update(self._task, description=said(one))

    def bytes(self, done: int, total: int | None) -> None:
        self._shown.update(self._task, description="downloading", completed=done, total=total)


@contextmanager
def bar() -> Iterator[Show]:
    """Shows progress until the block ends."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.progress import Progress as Shown  # noqa: PLC0415
    except ImportError:
        yield Lines()
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Shown(*columns, console=console) as shown:
        yield _Bar(shown)


def said(one: Progress) -> str:
    """Returns how a request stands, in words."""
    words = one.state.replace("_", " ")
    return words if one.queue_position is None else f"{words}, {one.queue_position} ahead"
