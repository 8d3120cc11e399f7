"""Whose turn it is to lease work: one server at a time, where limits hold for all servers together."""

from sqlalchemy import Connection, select

from app.db.schema.tables import upkeep_positions
from app.db.statements.upsert import insert_of


def has_turn(connection: Connection, name: str) -> bool:
    """Returns whether no other server leases this kind of work; the turn lasts until the commit.

    Nobody waits for the turn, so that a server that stands still in the middle of it holds up no other
    thread.
    """
    turn = select(upkeep_positions.c.name).where(upkeep_positions.c.name == name)
    if connection.dialect.name == "sqlite":  # one writer
        return True
    if connection.execute(turn.with_for_update(skip_locked=True)).one_or_none() is not None:
        return True
    if connection.execute(turn).one_or_none() is not None:
        return False
    first = insert_of(connection, upkeep_positions).values(name=name, position="").on_conflict_do_nothing()
    return bool(connection.execute(first).rowcount)
