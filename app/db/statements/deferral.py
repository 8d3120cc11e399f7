"""What a transaction writes right before its COMMIT, once for all functions that share it.

A lane opens a `Deferral` in each of its transactions. Functions add items, such as changes of sums, and the
lane writes all of them together after the last function. An item goes with its function: one that is rolled
back to its savepoint takes its items with it. Whoever reads what items change calls `write_deferred` first.

The functions of submits, of which many share a transaction, also share what they know (`kept`): a tenant's
account or last event number, which the first of them reads and locks, and each changes. So the others need
not read it again, and what they change is written once (`write_together`). A function of another kind never
meets this: before it begins, everything is written and nothing is kept, and it writes at once.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from app.db.statements.prepared import changes_of
from app.db.tenant_locks import LockedTenant

Write = Callable[[Connection, Sequence[Any]], None]
Mark = tuple[int, int, dict[Any, Any]]
_DEFERRAL: Final = "reelgate.deferral"


def write_later(connection: Connection, write: Write, item: Any) -> None:
    """Has `write` called with this item and others before the COMMIT; at once outside of a lane."""
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    if deferral is None:
        write(connection, [item])
    else:
        deferral.items.append((write, item))


def write_together(connection: Connection, write: Write, item: Any) -> None:
    """Does as `write_later` in a function that shares what it knows.

    In any other function `write` is called at once.
    """
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    if deferral is None or not deferral.shares:
        write(connection, [item])
    else:
        deferral.items.append((write, item))


def write_first(connection: Connection, write: Write, item: Any) -> None:
    """Does as `write_together`, before all else that is deferred: for rows that others refer to."""
    write_together(connection, write, item)
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    if deferral is not None:
        deferral.first.add(write)


def is_deferred(connection: Connection, write: Write, fits: Callable[[Any], bool]) -> bool:
    """Returns whether an item that fits is deferred for this write, and not written yet."""
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    if deferral is None:
        return False
    return any(one is write and fits(item) for one, item in deferral.items[deferral.written :])


def kept(connection: Connection) -> dict[Any, Any] | None:
    """Returns what the functions that share this transaction know of rows that it has locked; None elsewhere.

    It is as the rows will be once everything is written. Of what is not kept, nothing is deferred: whoever
    takes something away from here calls `write_deferred`.
    """
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    return deferral.kept if deferral is not None and deferral.shares else None


def write_deferred(connection: Connection) -> None:
    """Writes now what was deferred in this transaction, so that a statement that follows sees it."""
    deferral: Deferral | None = connection.info.get(_DEFERRAL)
    if deferral is not None:
        deferral.write(connection)


class Ahead(NamedTuple):
    """What a function of a tenant that shares what it knows is going to need.

    `read` is called once for all functions of a transaction, before the first of them: with the rows of their
    tenants, which are locked, and what each of them needs. It keeps what it reads. It changes nothing, and
    without it each function reads for itself.
    """

    tenant_id: str
    read: Callable[[Connection, Mapping[str, LockedTenant], Sequence[Any]], None]
    need: Any = None


class Deferral:
    """The items of one transaction, in order. The first `written` of them are in the database."""

    def __init__(self, connection: Connection) -> None:
        self.items: list[tuple[Write, Any]] = []
        self.written = 0
        self.is_writing = False
        """Whether a write has begun and not returned: where the transaction fails then, that is why."""
        self.kept: dict[Any, Any] = {}
        self.first: set[Write] = set()
        """The writes that are called before all others."""
        self.shares = False
        """Whether the present function shares what it knows with those before and after it."""
        self.of_others = 0
        """How many statements wrote only what other functions than the present one had deferred."""
        self._before = 0
        """How many items were there when the present function began."""
        connection.info[_DEFERRAL] = self

    def begin(self, connection: Connection, *, shares: bool) -> None:
        """Takes the begin of a function; see `kept`."""
        self.shares = shares
        if self.kept and not shares:
            self.kept.clear()
            self.write(connection)

    def read_ahead(
        self, connection: Connection, locked: Mapping[str, LockedTenant], needs: Collection[Ahead]
    ) -> None:
        """Reads at once what functions need that share what they know."""
        self.shares = True
        for read in dict.fromkeys(one.read for one in needs):
            read(connection, locked, [one.need for one in needs if one.read is read])

    def mark(self) -> Mark:
        """Returns where the present function begins."""
        self._before = len(self.items)
        return len(self.items), self.written, self.kept.copy()

    def go_back(self, mark: Mark) -> None:
        """Forgets what was added, written and kept after a savepoint that was rolled back to."""
        self.drop(mark)
        self.written = mark[1]
        self.is_writing = False

    def drop(self, mark: Mark) -> None:
        """Forgets what a function added and kept that has written nothing of its own."""
        count, _, self.kept = mark
        del self.items[count:]

    def finish(self, connection: Connection) -> None:
        """Writes what is left. The transaction is over then, but for its COMMIT."""
        self.write(connection)
        del connection.info[_DEFERRAL]

    def write(self, connection: Connection) -> None:
        """Writes the items that are not written yet."""
        if self.written == len(self.items):
            return
        self.is_writing, changes = True, changes_of(connection)
        items: dict[Write, list[Any]] = {}
        for write, item in self.items[self.written :]:
            items.setdefault(write, []).append(item)
        for write, of_one in sorted(items.items(), key=lambda one: one[0] not in self.first):
            write(connection, of_one)
        if len(self.items) == self._before:
            self.of_others += changes_of(connection) - changes
        self.written = len(self.items)
        self.is_writing = False
