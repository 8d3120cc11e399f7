"""A video of many megabytes, made of a short one: what its pictures lie apart by is read by nobody."""

import struct
from collections.abc import Iterator

_OUTER = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}


def spread(video: bytes, *, apart: int) -> bytes:
    """Return an MP4 with the same pictures, each `apart` bytes behind the one before."""
    boxes = dict(_boxes(video))
    table = _found(boxes[b"moov"])
    sizes = struct.unpack_from(f">{_count(table[b'stsz'], 8)}I", table[b"stsz"], 12)
    places = list(_places(table, sizes))
    first = len(video) + 100_000  # behind whatever the new index takes
    offsets = [first + number * apart for number in range(len(sizes))]
    chunks = struct.pack(f">II{len(offsets)}I", 0, len(offsets), *offsets)
    one_each = struct.pack(">IIIII", 0, 1, 1, 1, 1)
    moov = _box(b"moov", _with(boxes[b"moov"], {b"stco": chunks, b"stsc": one_each}))
    begins = _box(b"ftyp", boxes[b"ftyp"]) + moov
    whole = bytearray(first + len(offsets) * apart)
    whole[: len(begins)] = begins
    whole[len(begins) : len(begins) + 8] = struct.pack(">I4s", len(whole) - len(begins), b"mdat")
    for offset, place, size in zip(offsets, places, sizes, strict=True):
        whole[offset : offset + size] = video[place : place + size]
    return bytes(whole)


def _places(table: dict[bytes, bytes], sizes: tuple[int, ...]) -> Iterator[int]:
    """Where each picture lies in the short video."""
    runs = list(struct.iter_unpack(">III", table[b"stsc"][8:]))
    chunks = struct.unpack_from(f">{_count(table[b'stco'], 4)}I", table[b"stco"], 8)
    number = 0
    for chunk, at in enumerate(chunks, 1):
        (count,) = [run[1] for run in runs if run[0] <= chunk][-1:]
        for _ in range(count):
            yield at
            at += sizes[number]  # noqa: PLW2901 - the next one lies behind it
            number += 1


def _count(box: bytes, at: int) -> int:
    found: int = struct.unpack_from(">I", box, at)[0]
    return found


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + length]
        at += length


def _found(data: bytes) -> dict[bytes, bytes]:
    """The tables of the only track, by their kinds."""
    found: dict[bytes, bytes] = {}
    for kind, content in _boxes(data):
        found |= _found(content) if kind in _OUTER else {kind: content}
    return found


def _with(data: bytes, others: dict[bytes, bytes]) -> bytes:
    return b"".join(
        _box(kind, _with(content, others) if kind in _OUTER else others.get(kind, content))
        for kind, content in _boxes(data)
    )


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content
