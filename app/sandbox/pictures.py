"""Sample pictures to try the API with, and stand-ins for pictures that are not fetched."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from app.sandbox import scenes

LANDSCAPE, PORTRAIT = (1600, 900), (900, 1600)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample picture; each is far smaller than the 4.7 MB that RunComfy's model accepts."""

    name: str
    size: tuple[int, int]
    type: str
    draw: Callable[[tuple[int, int]], Image.Image]


SAMPLES = (
    Sample("harbour.jpg", LANDSCAPE, "image/jpeg", scenes.harbour),
    Sample("mountains.png", LANDSCAPE, "image/png", scenes.mountains),
    Sample("city.jpg", LANDSCAPE, "image/jpeg", scenes.city),
    Sample("lighthouse.jpg", PORTRAIT, "image/jpeg", scenes.lighthouse),
)


class Samples:
    """The samples as files, each drawn at its first use and kept.

    The methods block, so they are called in a thread.
    """

    names = frozenset(sample.name for sample in SAMPLES)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._drawing = threading.Lock()

    def path(self, name: str) -> Path:
        """Returns the file of a sample; raises KeyError where there is none of that name."""
        sample = {each.name: each for each in SAMPLES}[name]
        path = self._folder / name
        with self._drawing:
            if not path.exists():
                partial = path.with_name(name + ".part")
                sample.draw(sample.size).save(
                    partial, "JPEG" if sample.type == "image/jpeg" else "PNG", quality=90
                )
                partial.replace(path)
        return path

    def open(self, name: str) -> Image.Image:
        """Returns a sample as an RGB picture."""
        with Image.open(self.path(name)) as picture:
            return picture.convert("RGB")


def stand_in(samples: Samples, caption: str | None, seed: str) -> Image.Image:
    """Returns a picture in place of a missing one: a sample by seed, or the harbour with a caption."""
    if caption is None:
        choice = hashlib.sha256(seed.encode()).digest()[0] % len(SAMPLES)
        return samples.open(SAMPLES[choice].name)
    picture = samples.open("harbour.jpg")
    draw = ImageDraw.Draw(picture, "RGBA")
    lines = (("stand-in for a picture at", 26), (caption[:80], 44))
    top = picture.height - 170
    draw.rectangle((0, top, picture.width, picture.height - 40), fill=(12, 10, 26, 150))
    for line, (text, points) in enumerate(lines):
        font = ImageFont.load_default(points)
        while points > 14 and draw.textlength(text, font=font) > picture.width * 0.85:  # noqa: PLR2004  still legible
            points -= 2  # noqa: PLW2901  shrinks until it fits
            font = ImageFont.load_default(points)
        draw.text(
            (picture.width / 2, top + 38 + line * 48), text, font=font, fill=(255, 236, 214), anchor="mm"
        )
    return picture
