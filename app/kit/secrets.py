"""Random text, keyed digests and checksums: what API keys, client tokens and identifiers are made of."""

import hashlib
import hmac
import os
import secrets
import zlib
from typing import Final

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK_LENGTH = 6  # base-62 digits: 62**6 exceeds 2**32, so every CRC-32 fits


_SIZE: Final = 16
_AT_ONCE: Final = 256
_drawn: list[bytes] = []
os.register_at_fork(after_in_child=_drawn.clear)  # no two processes may use the same


def random_16_bytes() -> bytes:
    """Returns bytes of the system's random generator, which were drawn with others.

    A draw lets other threads run, so each of them costs far more than the bytes do. They are for identifiers;
    what has to be secret is drawn by itself.
    """
    try:
        return _drawn.pop()
    except IndexError:
        many = os.urandom(_SIZE * _AT_ONCE)
        _drawn.extend(many[at : at + _SIZE] for at in range(_SIZE, len(many), _SIZE))
        return many[:_SIZE]


def random_text(length: int) -> str:
    """Returns base-62 text from the system's random generator: 5.95 bits a character."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def checksum(text: str) -> str:
    """Returns the text's CRC-32 as six base-62 digits.

    It detects typing errors without a database look-up; it protects nothing.
    """
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def keyed_digest(pepper: str, text: str) -> str:
    """Returns the HMAC-SHA256 of the text under the pepper, in hex."""
    return hmac.new(pepper.encode(), text.encode(), hashlib.sha256).hexdigest()


def pepper_id(pepper: str) -> str:
    """Returns eight hex digits that identify a pepper and reveal nothing else about it."""
    return hashlib.sha256(b"reelgate pepper id\0" + pepper.encode()).hexdigest()[:8]


def same(left: str, right: str) -> bool:
    """Returns whether two texts are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(left.encode(), right.encode())
