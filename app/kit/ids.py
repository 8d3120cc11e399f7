"""Identifiers: UUIDv7 (RFC 9562), 36 characters, which sort by the time of their creation."""

import re

import uuid_utils

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def new_id(now_ms: int) -> str:
    """Returns a new UUIDv7 for the given time, in lower case with dashes."""
    return str(uuid_utils.uuid7(nanoseconds=now_ms * 1_000_000))


def is_id(text: str) -> bool:
    """Returns whether the text has the form of an id that `new_id` makes."""
    return _UUID.match(text) is not None
