"""Derives from a submit's model id and input what to make: kind, size, length, price. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["video", "image", "audio"]

FPS = 24
DEFAULT_FRAMES = 121
MAX_FRAMES = 721  # 30 s: longer videos would only be slow to draw
SHORT_SIDES = (240, 1080)  # of a 16:9 frame; smaller and larger ones are clamped
NAMED_SHORT_SIDES = {"2K": 1080, "4K": 1080}
WIDEST = 3.2  # a picture with a greater aspect ratio is cropped, as it would make a useless strip
SNAP = 0.01  # a picture this near to 16:9 is treated as 16:9

IMAGE_ENDINGS = ("image-to-image", "text-to-image", "edit")
AUDIO_ENDINGS = ("to-audio", "to-speech", "to-music")
IMAGE_USD, AUDIO_USD = 0.03, 0.02

MEDIA_FIELD = re.compile(r"(.*_)?(images?|pictures?|photos?|frame|img)(_(urls?|uris?))?", re.IGNORECASE)
OTHER_FIELD = re.compile(r"(.*_)?(urls?|uris?)", re.IGNORECASE)
NOT_PICTURES = re.compile(r"video|audio|callback|webhook", re.IGNORECASE)


def kind_of(model_id: str) -> Kind:
    """Returns what a model makes, by the end of its id; video unless that says otherwise."""
    if model_id.endswith(IMAGE_ENDINGS):
        return "image"
    return "audio" if model_id.endswith(AUDIO_ENDINGS) else "video"


def find_picture(body: Mapping[str, Any]) -> str | None:
    """Returns the first picture that an input names: in fields named like pictures, else in URL fields."""
    for pattern in (MEDIA_FIELD, OTHER_FIELD):
        for name, value in body.items():
            if pattern.fullmatch(name) and not NOT_PICTURES.search(name):
                first = value[0] if isinstance(value, list) and value else value
                if isinstance(first, str) and first:
                    return first
    return None


def frame_count(body: Mapping[str, Any]) -> int:
    """Returns the number of frames that an input asks for; default 121.

    It is in `number_of_frames`, or in `duration` as seconds (a number, `"6"` or `"6s"`) at 24 frames a
    second.
    """
    asked = _number(body.get("number_of_frames"))
    if asked is None:
        seconds = _number(body.get("duration"))
        asked = DEFAULT_FRAMES if seconds is None else seconds * FPS
    return max(1, min(MAX_FRAMES, round(asked)))


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value.removesuffix("s"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e9 else None  # noqa: PLR2004  refuses infinities and NaN too


def frame_size(picture: tuple[int, int], resolution: Any) -> tuple[int, int]:
    """Returns width and height in pixels: the picture's aspect ratio, the area of a 16:9 frame of that class.

    "720P" is the area of 1280x720, so 16:9 gives exactly that and 9:16 gives 720x1280. Both sides are even,
    as yuv420p demands.
    """
    short = _short_side(resolution)
    ratio = min(WIDEST, max(1 / WIDEST, picture[0] / picture[1]))
    for standard in (16 / 9, 9 / 16):
        if abs(ratio / standard - 1) < SNAP:
            ratio = standard
    area = short * short * 16 / 9
    return _even(math.sqrt(area * ratio)), _even(math.sqrt(area / ratio))


def _short_side(resolution: Any) -> int:
    written = str(resolution).strip().upper() if isinstance(resolution, str | int) else ""
    found = re.fullmatch(r"(\d{2,5})P?", written)
    asked = int(found.group(1)) if found else NAMED_SHORT_SIDES.get(written, 720)
    return max(SHORT_SIDES[0], min(SHORT_SIDES[1], asked))


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))


def cost_usd(model_id: str, body: Mapping[str, Any], usd_per_second: float) -> float:
    """Returns the made-up price of a succeeded job in USD."""
    kind = kind_of(model_id)
    if kind == "image":
        return IMAGE_USD
    return AUDIO_USD if kind == "audio" else round(frame_count(body) / FPS * usd_per_second, 4)
