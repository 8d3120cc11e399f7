"""What waits to be copied, for metrics and the doctor. Bounded, however much waits."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, literal_column, select

from app.db.schema.asset_states import IS_PENDING
from app.db.schema.tables import assets
from app.mirror import claims

MAX_COUNTED: Final = 10_000
_PENDING: Final[Any] = literal_column(IS_PENDING)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many assets wait, at most `MAX_COUNTED`, and since when the first has been due (None: none)."""

    assets: int
    due_ms: int | None

    def late_s(self, now_ms: int) -> float:
        """Returns for how long the first of them has been due."""
        return 0.0 if self.due_ms is None else max(0, now_ms - self.due_ms) / 1000


def waiting(connection: Connection) -> Waiting:
    """Returns what waits to be copied, of all tenants."""
    some = select(assets.c.id).where(_PENDING).limit(MAX_COUNTED).subquery()
    count = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return Waiting(count, claims.next_due(connection))
