"""Identifiers: UUIDv7 (RFC 9562), 36 characters, ordered by the time they were made."""

import re

import uuid_utils

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def new_id(now_ms: int) -> str:
    """A new UUIDv7 of the given moment, lower case with dashes."""
    return str(uuid_utils.uuid7(nanoseconds=now_ms * 1_000_000))


def is_id(text: str) -> bool:
    """Whether the text has the form of an id that `new_id` makes."""
    return _UUID.match(text) is not None
