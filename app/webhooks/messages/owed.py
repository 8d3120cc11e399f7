"""Messages whose body could not be made in the transaction of what they tell, to be completed later.

There is one only where the code has a defect. Its row keeps the id, so that the state is not without its
event; what it tells is in other rows, from which the body is made once the defect is mended.
"""

from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, delete, literal_column, select

from app.auth.keys import Mode
from app.db.schema.tables import webhook_messages
from app.db.schema.webhook_states import IS_OWED


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A message without a body."""

    id: str
    tenant_id: str
    mode: Mode
    kind: str
    generation_id: str | None
    created_at_ms: int


def first(connection: Connection, *, limit: int) -> list[Owed]:
    """Returns owed messages, the oldest first."""
    query = (
        select(webhook_messages)
        .where(literal_column(IS_OWED))
        .order_by(webhook_messages.c.created_at_ms)
        .limit(limit)
    )
    return [
        Owed(
            id=row.id,
            tenant_id=row.tenant_id,
            mode=cast("Mode", row.mode),
            kind=row.type,
            generation_id=row.generation_id,
            created_at_ms=row.created_at_ms,
        )
        for row in connection.execute(query)
    ]


def take(connection: Connection, one: Owed) -> bool:
    """Removes an owed message, to be written anew in the same transaction; False where it is not owed."""
    gone = delete(webhook_messages).where(webhook_messages.c.id == one.id, literal_column(IS_OWED))
    return connection.execute(gone).rowcount > 0
