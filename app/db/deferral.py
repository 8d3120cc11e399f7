"""What a transaction writes right before its COMMIT, once for all functions that share it.

A lane opens a `Deferral` in each of its transactions. Functions add items, such as changes of sums, and the
lane writes all of them together after the last function. An item goes with its function: one that is rolled
back to its savepoint takes its items with it. Whoever reads what items change calls `write_deferred` first.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

Write = Callable[[Connection, Sequence[Any]], None]
_DEFERRAL: Final = "reelgate.deferral"


def write_later(connection: Connection, write: Write, item: Any) -> None:
    """Has `write` called with this item and others before the COMMIT; at once outside of a lane."""
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    if deferral is None:
        write(connection, [item])
    else:
        deferral.items.append((write, item))


def write_deferred(connection: Connection) -> None:
    """Writes now what was deferred in this transaction, so that a statement that follows sees it."""
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    if deferral is not None:
        deferral.write(connection)


class Deferral:
    """The items of one transaction, in order. The first `written` of them are in the database."""

    def __init__(self, connection: Connection) -> None:
        self.items: list[tuple[Write, Any]] = []
        self.written = 0
        self.is_writing = False
        """Whether a write has begun and not returned: where the transaction fails then, that is why."""
        connection.info[_DEFERRAL] = self

    def mark(self) -> tuple[int, int]:
        """Returns where a savepoint is."""
        return len(self.items), self.written

    def go_back(self, mark: tuple[int, int]) -> None:
        """Forgets what was added and written after a savepoint that was rolled back to."""
        count, self.written = mark
        del self.items[count:]
        self.is_writing = False

    def finish(self, connection: Connection) -> None:
        """Writes what is left. The transaction is over then, but for its COMMIT."""
        self.write(connection)
        del connection.info[_DEFERRAL]

    def write(self, connection: Connection) -> None:
        """Writes the items that are not written yet."""
        if self.written == len(self.items):
            return
        self.is_writing = True
        items: dict[Write, list[Any]] = {}
        for write, item in self.items[self.written :]:
            items.setdefault(write, []).append(item)
        for write, of_one in items.items():
            write(connection, of_one)
        self.written = len(self.items)
        self.is_writing = False
