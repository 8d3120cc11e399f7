# Made from `_async` by `python -m tools.client_sync`: change that.
"""Uploading a file: its bytes, read from the disk as they are sent."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from pathlib import Path

from reelgate_client._primitives_sync import in_thread

_CHUNK_BYTES = 262_144


def chunks_of(
    source: Path | bytes, size: int, on_bytes: Callable[[int, int], object] | None
) -> Generator[bytes]:
    """Yields the bytes of a file or of bytes, and tells how many of how many have been taken."""
    sent = 0
    file = io.BytesIO(source) if isinstance(source, bytes) else in_thread(io.FileIO, source)
    try:
        while sent < size:
            chunk = in_thread(file.read, min(_CHUNK_BYTES, size - sent))
            if not chunk:  # it was cut meanwhile: the server notices
                return
            sent += len(chunk)
            yield chunk
            if on_bytes is not None:
                on_bytes(sent, size)
    finally:
        file.close()
