"""Random text, keyed digests and checksums for secrets that leave our hands."""

import hashlib
import hmac
import secrets
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK_LENGTH = 6  # 62**6 exceeds 2**32, so every CRC-32 fits


def random_text(length: int) -> str:
    """Base-62 text from the system's generator: 5.95 bits a character."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def checksum(text: str) -> str:
    """CRC-32 as six base-62 digits: finds typing errors without asking anybody; it protects nothing."""
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def keyed_digest(pepper: str, text: str) -> str:
    """HMAC-SHA256 in hex."""
    return hmac.new(pepper.encode(), text.encode(), hashlib.sha256).hexdigest()


def pepper_id(pepper: str) -> str:
    """Which pepper made a digest: eight hex digits that tell nothing else about it."""
    return hashlib.sha256(b"reelgate pepper id\0" + pepper.encode()).hexdigest()[:8]


def same(left: str, right: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left.encode(), right.encode())
