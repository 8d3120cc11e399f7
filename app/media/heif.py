"""The size of the primary picture of a HEIC or AVIF, from the boxes that describe it. Pure."""

from collections.abc import Iterator

_QUARTER: int = 1  # the lowest bit of a turn, in quarters of a circle


def primary_size(meta: bytes, *, as_shown: bool) -> tuple[int, int] | None:
    """Returns the width and height of a file's primary picture, from what is in its `meta` box.

    `as_shown` cuts off the margins and makes the turns that belong to the picture, as every decoder of HEIC
    does: they are no mere advice, as EXIF's orientation is. None where the size cannot be found.
    """
    properties = [*_properties(meta)]
    stored = next((data for name, data in properties if name == b"ispe"), None)
    if stored is None:
        return None
    size = int.from_bytes(stored[4:8], "big"), int.from_bytes(stored[8:12], "big")
    for name, data in properties if as_shown else ():
        if name == b"clap":
            size = _cut(size, data)
        elif name == b"irot" and data[:1] and data[0] & _QUARTER:
            size = size[1], size[0]
    return size


def _cut(size: tuple[int, int], aperture: bytes) -> tuple[int, int]:
    """Returns the size of what is shown of a picture; the picture's own where that makes no sense."""
    numbers = [int.from_bytes(aperture[at : at + 4], "big") for at in range(0, 16, 4)]
    if not numbers[1] or not numbers[3]:
        return size
    width, height = ((2 * n + d) // (2 * d) for n, d in (numbers[:2], numbers[2:]))
    return (width, height) if 0 < width <= size[0] and 0 < height <= size[1] else size


def _properties(meta: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the properties of the primary picture, in their order."""
    boxes = dict(_inner(meta))
    primary = boxes.get(b"pitm", b"")
    wide = primary[:1] not in {b"", b"\0"}
    item = int.from_bytes(primary[4 : 8 if wide else 6], "big")
    described = _inner(boxes.get(b"iprp", b""))
    properties = _inner(dict(described).get(b"ipco", b""))
    for name, table in described:
        for index in _numbers_of(item, table) if name == b"ipma" else ():
            if 0 < index <= len(properties):
                yield properties[index - 1]


def _numbers_of(item: int, table: bytes) -> list[int]:
    """Returns the numbers of an item's properties, counted from 1, by a table of them (`ipma`)."""
    id_bytes = 4 if table[:1] not in {b"", b"\0"} else 2
    entry_bytes = 2 if table[3:4] and table[3] & 1 else 1
    at = 8
    while at + id_bytes < len(table):
        begin = at + id_bytes + 1
        end = begin + table[begin - 1] * entry_bytes
        if int.from_bytes(table[at : at + id_bytes], "big") == item:
            mask = (1 << 8 * entry_bytes - 1) - 1
            steps = range(begin, end, entry_bytes)
            return [int.from_bytes(table[step : step + entry_bytes], "big") & mask for step in steps]
        at = end
    return []


def _inner(data: bytes) -> list[tuple[bytes, bytes]]:
    """Returns the boxes in a box, with their names."""
    found, at = [], 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length < 8:  # noqa: PLR2004 - a box has a length and a name; 0 is a box up to the end
            break
        found.append((data[at + 4 : at + 8], data[at + 8 : at + length]))
        at += length
    return found
