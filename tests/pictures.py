"""Pictures of any declared size, drawn of nothing: what is probed are headers, and these are right."""

import base64
import struct
import zlib


def png(width: int = 640, height: int = 480, *, size_bytes: int | None = None) -> bytes:
    """A PNG by its header; blown up to so many bytes behind its end."""
    start = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _padded(
        start + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b""),
        size_bytes,
    )


def png_with_profile(size: int, width: int = 640, height: int = 480) -> bytes:
    """A PNG with a colour profile and XMP of so many bytes each before its image data."""
    data = png(width, height)
    return data[:33] + _chunk(b"iCCP", bytes(size)) + _chunk(b"iTXt", bytes(size)) + data[33:]


def jpeg(width: int = 640, height: int = 480, *, size_bytes: int | None = None, before: int = 0) -> bytes:
    """A JPEG by its header, with so many bytes of comments before its size."""
    comments = b""
    while before > 0:
        length = min(before, 60_000)
        comments += b"\xff\xfe" + struct.pack(">H", length + 2) + b"c" * length
        before -= length
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    scan = b"\xff\xda" + struct.pack(">H", 8) + b"\x01\x01\x00\x00\x3f\x00"
    start = b"\xff\xd8" + comments + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame
    return _padded(start + scan + b"\x00\xff\xd9", size_bytes)


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _padded(data: bytes, size_bytes: int | None) -> bytes:
    return data if size_bytes is None else data + b"\0" * (size_bytes - len(data))
