"""INSERT statements with `ON CONFLICT`, which both databases know, each in the module of its own dialect."""

from typing import Any

from sqlalchemy import Connection, Table


def insert_of(connection: Connection, table: Table) -> Any:
    """Returns an INSERT into the table that can say what happens to a row that is there already.

    The dialect of the other database is not imported.
    """
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415 - as above

        return insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert  # noqa: PLC0415 - as above

    return postgresql_insert(table)
