"""Identifiers: UUIDv7 (RFC 9562), 36 characters, ordered by the millisecond in which they were made."""

import re

from app.kit.secrets import random_16_bytes

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_TIME_SHIFT = 80  # 48 bits of milliseconds stand in front, 80 bits follow
_MAX_MS = 2**48 - 1
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = (2**_TIME_SHIFT - 1) & ~(0xF << 76 | 0b11 << 62)  # all that are not of the version or variant


def new_id(now_ms: int) -> str:
    """A new UUIDv7 of the given moment, lower case with dashes; 74 of its bits are random.

    Ids of one millisecond are in no order: no query relies on more than the order of the moments.
    """
    random = int.from_bytes(random_16_bytes()) & _RANDOM_BITS
    made = f"{now_ms << _TIME_SHIFT | _VERSION_7 | _VARIANT | random:032x}"
    return f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:]}"


def is_id(text: str) -> bool:
    """Returns whether the text has the form of an id that `new_id` makes."""
    return _UUID.match(text) is not None


def moment_of(made: str) -> int:
    """Returns the millisecond in which an id was made."""
    return int(made[:8] + made[9:13], 16)


def first_of(at_ms: int) -> str:
    """Returns a text that is ordered before all ids of this millisecond and later ones, and behind others."""
    made = f"{min(max(at_ms, 0), _MAX_MS):012x}"
    return f"{made[:8]}-{made[8:]}"
