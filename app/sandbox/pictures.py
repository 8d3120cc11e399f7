"""Sample pictures to try the API with, and stand-ins for pictures that are not fetched."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LANDSCAPE, PORTRAIT = (1600, 900), (900, 1600)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample picture; each is far smaller than the 4.7 MB that RunComfy's model accepts."""

    name: str
    size: tuple[int, int]
    type: str


SAMPLES = (
    Sample("harbour.jpg", LANDSCAPE, "image/jpeg"),
    Sample("mountains.png", LANDSCAPE, "image/png"),
    Sample("city.jpg", LANDSCAPE, "image/jpeg"),
    Sample("lighthouse.jpg", PORTRAIT, "image/jpeg"),
)

EXAMPLES_URL = "https://playgrounds-storage-public.runcomfy.net"
"""Where the example files of RunComfy's pages are, which the sandbox has stand-ins for."""
NAMES = frozenset(sample.name for sample in SAMPLES)
_FOLDER = Path(__file__).parent / "samples"


def sample_path(name: str) -> Path:
    """Returns the file of a sample, whose name is one of `NAMES`."""
    return _FOLDER / name


def example_picture(path: str) -> Path:
    """Returns the sample that stands in for the example picture at a path below `EXAMPLES_URL`."""
    return sample_path("mountains.png" if path.lower().endswith(".png") else "harbour.jpg")


def open_sample(name: str) -> Image.Image:
    """Returns a sample as an RGB picture."""
    with Image.open(sample_path(name)) as picture:
        return picture.convert("RGB")


def stand_in(caption: str | None, seed: str) -> Image.Image:
    """Returns a picture in place of a missing one: a sample by seed, or the harbour with a caption."""
    if caption is None:
        choice = hashlib.sha256(seed.encode()).digest()[0] % len(SAMPLES)
        return open_sample(SAMPLES[choice].name)
    picture = open_sample("harbour.jpg")
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
