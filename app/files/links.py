"""Signed links: an address at which whoever has it may read one file until a moment. Pure.

A link names its key, so that replacing the key ends every link that was made with it.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.storage.store import Kind

MAX_LINK_S: Final = 604_800  # a week
_TEXT = re.compile(r"([0-9a-f]{8})\.([0-9a-f-]{36})\.([0-9a-z]{1,9})\.([A-Za-z0-9_-]{43})")
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Presented:
    """A link as somebody presents it: which key signed it, for which row, until when."""

    key_id: str
    row_id: str
    expires_s: int
    signature: str


class Links:
    """Makes links with the first of the keys, and judges those of all. Keys are secrets, by their ids."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys
        self._first = next(iter(keys))

    def sign(self, kind: Kind, tenant_id: str, row_id: str, *, expires_s: int) -> str:
        """Returns the text of a link to a row's bytes that ends at this second since 1970."""
        signature = _signature(self._keys[self._first], kind, tenant_id, row_id, expires_s)
        return f"{self._first}.{row_id}.{_base_36(expires_s)}.{signature}"

    def is_good(self, link: Presented, kind: Kind, tenant_id: str) -> bool:
        """Returns whether a link was made here for a row of this tenant's; it may have expired."""
        key = self._keys.get(link.key_id)
        if key is None:
            return False
        wanted = _signature(key, kind, tenant_id, link.row_id, link.expires_s)
        return hmac.compare_digest(wanted, link.signature)


def key_id_of(key: str) -> str:
    """Returns eight hex digits that name a key and reveal nothing else about it."""
    return hashlib.sha256(b"reelgate link key id\0" + key.encode()).hexdigest()[:8]


def parse(text: str) -> Presented | None:
    """Returns what a text says, if it has the form of a link."""
    found = _TEXT.fullmatch(text)
    return None if found is None else Presented(found[1], found[2], int(found[3], 36), found[4])


def _signature(key: str, kind: Kind, tenant_id: str, row_id: str, expires_s: int) -> str:
    text = f"reelgate link\0{kind}\0{tenant_id}\0{row_id}\0{expires_s}"
    digest = hmac.digest(key.encode(), text.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _base_36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"
