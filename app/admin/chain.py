"""The hash chain of the audit log: each entry's hash covers its text and the hash of the entry before. Pure.

The hash is over the bytes that are stored, so nothing has to be written the same way twice. What the chain
shows: that no entry before the last one was edited, removed, doubled or moved. That none was cut off at the
end, and that the chain was not made anew, only a head shows that was kept outside the database.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from app.kit.json import dumps

GENESIS: Final = "0" * 64
"""The hash that stands before the first entry."""
PRUNE: Final = "audit.prune"
"""The action of an entry that says which entries were removed when their retention period was over."""
BreakKind = Literal["edited", "missing", "duplicated", "reordered", "truncated"]
_HASH_BYTES: Final = 32
_ONE_LINE: Final = re.compile(r"(?:(\S+) )?(\d{1,18}) (\S+)")


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries there are, and the hash of the last one."""

    size: int
    hash: str

    def checkpoint(self, origin: str) -> str:
        """Returns the head as three lines: whose it is, size, and hash in base64 (a C2SP checkpoint)."""
        return f"{origin}\n{self.size}\n{base64.b64encode(bytes.fromhex(self.hash)).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it is stored. `columns` are those that repeat a part of its text, by their names."""

    seq: int
    prev_hash: str
    hash: str
    text: str
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Break:
    """The first place at which the chain is broken: its class, the number of an entry, and what is wrong."""

    kind: BreakKind
    seq: int
    detail: str


def hash_of(prev_hash: str, text: str) -> str:
    """Returns the hash of an entry: SHA-256 of the hash before, a line break and its text, in hexadecimal."""
    return hashlib.sha256(f"{prev_hash}\n{text}".encode()).hexdigest()


def text_of(seq: int, **values: Any) -> str:
    """Returns the text of an entry: JSON with sorted keys, written once."""
    return dumps({"seq": seq, **values}, sort_keys=True).decode()


def columns_of(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the columns that repeat a part of an entry's text, for searching."""
    return {
        "at_ms": document["at_ms"],
        "actor_kind": document["actor"]["kind"],
        "actor_name": document["actor"]["name"],
        "action": document["action"],
        "subject_kind": document["subject"]["kind"],
        "subject_id": document["subject"]["id"],
        "tenant_id": document["tenant_id"],
    }


def head_in(text: str) -> Head | None:
    """Returns the head in a checkpoint, or in its one line as the log has it; None for other texts."""
    lines = text.strip().split("\n")
    one = _ONE_LINE.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    size, encoded = (one[2], one[3]) if one else ("", "")
    if one is None and len(lines) > 2:  # noqa: PLR2004 - origin, size, hash; signatures may follow
        size, encoded = lines[1].strip(), lines[2].strip()
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not (size.isascii() and size.isdigit()) or len(raw) != _HASH_BYTES:
        return None
    return Head(int(size), raw.hex())


def first_break(
    entries: Iterable[Entry],
    *,
    before: Head,
    head: Head | None,
    anchor: Head | None = None,
    claims: Callable[[int], Entry | None],
) -> Break | None:
    """Returns the first break of a chain; None where there is none.

    `entries` come in the order of their numbers, those behind `before`; `head` is the one stored with them,
    None where it is gone, and `anchor` one that was kept outside. `claims` finds the entry whose text has a
    number, wherever it stands.
    """
    last, anchored = before, None
    if anchor is not None and anchor.size <= before.size:
        if anchor.size < before.size:
            detail = f"entries up to {before.size} are not looked at; take a head of that many or more."
            return Break("missing", anchor.size, f"the head that was given cannot be compared: {detail}")
        anchored = before.hash
    for entry in entries:
        if (found := _fault_of(entry, last, claims)) is not None:
            return found
        last = Head(entry.seq, entry.hash)
        if anchor is not None and entry.seq == anchor.size:
            anchored = entry.hash
    return _fault_of_end(last, head) or (None if anchor is None else _fault_of_anchor(last, anchor, anchored))


def _fault_of(entry: Entry, last: Head, claims: Callable[[int], Entry | None]) -> Break | None:
    """Returns what is wrong with an entry behind the last one."""
    expected = last.size + 1
    if entry.seq < expected:
        return Break("duplicated", entry.seq, "it stands there twice.")
    if entry.seq > expected:
        gone = f"{expected}" if entry.seq == expected + 1 else f"{expected} to {entry.seq - 1}"
        return Break("missing", expected, f"missing: {gone}.")
    document = _document_of(entry.text)
    claimed = expected if document is None else document["seq"]
    if claimed != expected:
        return _fault_of_place(entry, claimed, claims)
    wrong = _edit_of(entry, document, last)
    return None if wrong is None else Break("edited", expected, wrong)


def _edit_of(entry: Entry, document: dict[str, Any] | None, last: Head) -> str | None:
    if document is None or hash_of(entry.prev_hash, entry.text) != entry.hash:
        return "its text is not the one of its hash."
    if entry.prev_hash != last.hash:
        return "it, or the entry before it, was written anew: the one does not follow the other."
    repeated = columns_of(document)
    wrong = [name for name, value in entry.columns.items() if repeated.get(name) != value]
    return f"its column {wrong[0]} is not what its text says." if wrong else None


def _fault_of_place(entry: Entry, claimed: int, claims: Callable[[int], Entry | None]) -> Break:
    """Returns what happened where an entry stands that has another number in its text."""
    own = claims(claimed)
    if own is not None and own.seq != entry.seq and own.text == entry.text:
        return Break("duplicated", entry.seq, f"entry {claimed} stands in its place again.")
    if claims(entry.seq) is None:
        return Break("missing", entry.seq, f"missing; entry {claimed} stands in its place.")
    return Break("reordered", entry.seq, f"entry {claimed} stands in its place.")


def _document_of(text: str) -> dict[str, Any] | None:
    """Returns what an entry's text says; None where it is not the text of an entry."""
    try:
        document: dict[str, Any] = json.loads(text)
        columns_of(document)
        return document if isinstance(document["seq"], int) else None
    except (ValueError, KeyError, TypeError):
        return None


def _fault_of_end(last: Head, head: Head | None) -> Break | None:
    if head is None:
        return Break("truncated", last.size, "the stored head is gone.")
    if last.size < head.size:
        detail = f"the head counts {head.size} entries; those behind {last.size} are missing."
        return Break("truncated", last.size + 1, detail)
    if last != head:
        return Break("edited", last.size, f"the stored head is not that of entry {last.size}.")
    return None


def _fault_of_anchor(last: Head, anchor: Head, anchored: str | None) -> Break | None:
    if anchor.size > last.size:
        detail = f"there were {anchor.size} entries when the given head was taken, now {last.size}."
        return Break("truncated", last.size + 1, detail)
    expected = anchored if anchor.size else GENESIS
    if expected != anchor.hash:
        detail = f"entry {anchor.size}, or one before it, is another than when the given head was taken."
        return Break("edited", anchor.size, detail)
    return None
