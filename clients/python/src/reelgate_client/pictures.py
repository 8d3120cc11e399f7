"""Local pictures, to be sent by value (a `data:` URI) with an input."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelgate_client.errors import PictureRefused

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 6_000_000
"""As large a picture as fits into a body by the gateway's default of 8 MiB, in which it is a third longer."""
_RULE = re.compile(r"([a-z_/]+)(<=|>=|<|>)")
_QUALITIES = (92, 85, 75, 60, 45)
_MB = 1_000_000
_STARTS = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}


def data_uri(content: bytes) -> str:
    """Returns a picture as a `data:` URI.

    Raises:
        PictureRefused: these bytes begin like no picture that is known here.

    """
    return f"data:{media_type(content)};base64,{base64.b64encode(content).decode()}"


def media_type(content: bytes) -> str:
    """Returns the type of a picture, by its first bytes."""
    for start, kind in _STARTS.items():
        if content.startswith(start):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    raise _refused("It is no JPEG, PNG, WebP, GIF or BMP picture.")


def read(picture: str | Path | bytes) -> bytes:
    """Returns the bytes of a picture that is given as a path or as its bytes."""
    if isinstance(picture, bytes):
        return picture
    try:
        return Path(picture).read_bytes()
    except OSError as error:
        raise _refused(f"{picture} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True)
class Room:
    """What a model's rules leave for a picture: at most so many bytes and pixels."""

    size_bytes: int = MAX_BYTES
    width: int = 16_384
    height: int = 16_384
    min_width: int = 1
    min_height: int = 1
    min_ratio: float = 0.0
    max_ratio: float = math.inf


def room_of(rules: Iterable[Mapping[str, Any]], pointer: str | None = None) -> Room:
    """Returns what the `media_rules` of a model leave for a picture: for the input at a pointer, or all."""
    room = vars(Room()).copy()
    for one in rules:
        matched = _RULE.match(str(one.get("rule", "")).replace(" ", ""))
        if (
            matched is None
            or one.get("kind") not in {"image", "any"}
            or (pointer and one.get("pointer") != pointer)
        ):
            continue
        _narrow(room, matched[1], matched[2], float(one["value"]))
    return Room(**room)


def _narrow(room: dict[str, Any], metric: str, operator: str, value: float) -> None:
    is_upper = operator.startswith("<")
    whole = math.ceil(value) - 1 if operator == "<" else math.floor(value)
    least = math.floor(value) + 1 if operator == ">" else math.ceil(value)
    match metric, is_upper:
        case "file_size_mb", True:
            limit = value * _MB
            room["size_bytes"] = min(
                room["size_bytes"], math.ceil(limit) - 1 if operator == "<" else int(limit)
            )
        case "width_pixels" | "height_pixels", True:
            name = metric.removesuffix("_pixels")
            room[name] = min(room[name], whole)
        case "width_pixels" | "height_pixels", False:
            name = f"min_{metric.removesuffix('_pixels')}"
            room[name] = max(room[name], least)
        case "shortest_side_pixels", False:
            room["min_width"], room["min_height"] = (
                max(room["min_width"], least),
                max(room["min_height"], least),
            )
        case "width/height", True:
            room["max_ratio"] = min(room["max_ratio"], value)
        case "width/height", False:
            room["min_ratio"] = max(room["min_ratio"], value)
        case _:
            pass  # such as a rule on the least size of a file: the gateway judges it


def shrunk(content: bytes, room: Room) -> bytes:
    """Returns a picture that fits: itself where it does, else a smaller one in the same proportions.

    A picture in the wrong proportions, or too small, is not changed: neither can be mended by making it
    smaller.

    Raises:
        PictureRefused: it cannot be made to fit, or Pillow is not there.

    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - an extra
    except ImportError:
        raise _refused(
            "Making a picture smaller needs Pillow: pip install 'reelgate-client[pictures]'."
        ) from None
    try:
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()
            if (
                opened.width <= room.width
                and opened.height <= room.height
                and len(content) <= room.size_bytes
            ):
                return content
            picture = ImageOps.exif_transpose(opened)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise _refused(f"It cannot be opened as a picture: {error}") from error
    ratio = picture.width / picture.height
    if not room.min_ratio <= ratio <= room.max_ratio:
        raise _refused(
            f"Its proportions (width/height {ratio:.2f}) are not those that the model takes: crop it."
        )
    return _fitted(picture, room)


def _fitted(picture: Image, room: Room) -> bytes:
    has_alpha = picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info
    picture = picture.convert("RGBA" if has_alpha else "RGB")
    scale = min(1.0, room.width / picture.width, room.height / picture.height)
    while True:
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        if size[0] < room.min_width or size[1] < room.min_height:
            raise _refused("It would be smaller than the model takes before it fits: choose another picture.")
        smaller = picture.resize(size)
        for quality in (None,) if has_alpha else _QUALITIES:
            content = _encoded(smaller, quality)
            if len(content) <= room.size_bytes:
                return content
        scale *= 0.8


def _encoded(picture: Image, quality: int | None) -> bytes:
    written = io.BytesIO()
    if quality is None:
        picture.save(written, "PNG")
    else:
        picture.save(written, "JPEG", quality=quality, optimize=True)
    return written.getvalue()


def _refused(detail: str) -> PictureRefused:
    return PictureRefused({"detail": detail})
