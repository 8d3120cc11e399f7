"""The states of stored copies of outputs, and the conditions on them that SQL spells out. Pure.

As for generations (`db.schema.states`), partial indexes and the statements that use them say the same text.
"""

from enum import StrEnum
from typing import Final, Literal

from app.db.schema.states import spelled_in


class AssetState(StrEnum):
    """Where the copy of one file of an output is."""

    PENDING = "pending"
    COPYING = "copying"
    STORED = "stored"
    FAILED = "failed"
    GONE = "gone"
    EXPIRED = "expired"


class Removal(StrEnum):
    """Why a copy is removed."""

    RETENTION = "retention"
    DELETED = "deleted"
    ERASED = "erased"


MirrorMode = Literal["off", "beside", "instead"]
"""Whether outputs are copied, and whether a result has our links in place of RunComfy's."""

ENDED: Final = (AssetState.STORED, AssetState.FAILED, AssetState.GONE, AssetState.EXPIRED)
"""What is told as an event."""
IS_PENDING: Final = spelled_in("state", (AssetState.PENDING,))
IS_COPYING: Final = spelled_in("state", (AssetState.COPYING,))
IS_STORED: Final = spelled_in("state", (AssetState.STORED,))
IS_AT_REST: Final = spelled_in("state", (AssetState.PENDING, AssetState.STORED))
"""The condition of an asset that no worker is copying and that has not ended."""
IS_STORED_FOR_A_TIME: Final = f"{IS_STORED} AND expires_at_ms IS NOT NULL"
IS_LEFT_OVER: Final = "finished_at_ms IS NOT NULL AND interrupted_from IS NOT NULL"
"""The condition of an asset that ended, of whose last attempts there may be bytes."""
IS_REMOVING: Final = "finished_at_ms IS NULL AND removing_at_ms IS NOT NULL"
"""The condition of an asset whose bytes are to be deleted, and whose row says so afterwards."""
