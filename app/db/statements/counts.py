"""What a transaction counts once it is committed, for the metrics of the process that commits it."""

from typing import Final

from sqlalchemy import Connection

from app.kit.meters import Labels

COUNTED: Final = "reelgate.counts"
"""Where `Connection.info` has the list of what the transaction counts."""


def count(connection: Connection, labels: Labels) -> None:
    """Counts a request that enters a state, by mode, model and state, once the transaction is committed."""
    connection.info.get(COUNTED, []).append(labels)
