"""Drawing tools for the sandbox's pictures: light, water, clouds, hills. A seed always gives equal pixels."""

import itertools
import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Color = tuple[int, int, int]
Stops = tuple[tuple[float, Color], ...]
Point = tuple[float, float]


def gradient(size: tuple[int, int], stops: Stops) -> Image.Image:
    """Returns a vertical gradient through colours at fractions of the height."""
    strip = Image.new("RGB", (1, 256))
    for y in range(256):
        at = y / 255
        upper = next((i for i, stop in enumerate(stops) if stop[0] >= at), len(stops) - 1)
        (a, low), (b, high) = stops[max(0, upper - 1)], stops[upper]
        part = 0.0 if b == a else min(1.0, max(0.0, (at - a) / (b - a)))
        red, green, blue = (round(m + (n - m) * part) for m, n in zip(low, high, strict=True))
        strip.putpixel((0, y), (red, green, blue))
    return strip.resize(size, Image.Resampling.BICUBIC)


def grain(picture: Image.Image) -> Image.Image:
    """Returns the picture with a little noise, which hides the bands of gradients in eight bits.

    The noise is a repeated tile.
    """
    chance = random.Random(11)  # noqa: S311  decoration
    tile = Image.frombytes("L", (256, 256), bytes(chance.randrange(123, 134) for _ in range(256 * 256)))
    sheet = Image.new("L", picture.size)
    for x in range(0, picture.width, 256):
        for y in range(0, picture.height, 256):
            sheet.paste(tile, (x, y))
    return ImageChops.add(picture, Image.merge("RGB", (sheet, sheet, sheet)), 1, -128)


def glow(picture: Image.Image, center: Point, radius: float, color: Color, strength: float) -> None:
    """Adds light around a point, in place; it fades to nothing at the radius."""
    side = max(2, int(radius * 2))
    falloff = Image.radial_gradient("L").point(lambda v: int(max(0.0, 1 - v / 181) ** 2 * 255 * strength))
    mask = falloff.resize((side, side), Image.Resampling.BICUBIC)
    light = Image.merge("RGB", [mask.point(lambda v, c=c: v * c // 255) for c in color])
    corner = (int(center[0] - radius), int(center[1] - radius))
    box = (corner[0], corner[1], corner[0] + side, corner[1] + side)
    picture.paste(ImageChops.add(picture.crop(box), light), corner)


def ridge(width: int, base: float, rise: float, *, seed: int, rough: float = 0.55) -> list[Point]:
    """Returns a skyline of hills by midpoint displacement: points from the left edge to the right."""
    chance = random.Random(seed)  # noqa: S311  decoration
    heights = [chance.uniform(0.2, 0.8), chance.uniform(0.3, 1.0), chance.uniform(0.2, 0.8)]
    spread = 0.5
    while len(heights) < 400:  # noqa: PLR2004  fine enough for any width in use
        finer = []
        for left, right in itertools.pairwise(heights):
            finer += [left, (left + right) / 2 + chance.uniform(-spread, spread) * 0.5]
        heights = [*finer, heights[-1]]
        spread *= rough
    step = width / (len(heights) - 1)
    return [(i * step, base - rise * height) for i, height in enumerate(heights)]


def fill_below(draw: ImageDraw.ImageDraw, points: list[Point], bottom: float, color: Color) -> None:
    """Fills the area from a skyline down to a height, in place."""
    draw.polygon([(points[0][0], bottom), *points, (points[-1][0], bottom)], fill=color)


def mirror(picture: Image.Image, horizon: int, tint: Color, seed: int, ripple: float) -> None:
    """Turns everything below the horizon into water that mirrors what is above it, in place."""
    depth = picture.height - horizon
    above = picture.crop((0, max(0, horizon - depth), picture.width, horizon))
    flipped = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((picture.width, depth))
    flipped = flipped.filter(ImageFilter.GaussianBlur(1.5))
    water = Image.blend(flipped, Image.new("RGB", flipped.size, tint), 0.34)
    chance = random.Random(seed)  # noqa: S311  decoration
    phase = chance.uniform(0, 6)
    for y in range(depth):
        near = y / depth
        sway = math.sin(y / (2 + 9 * near) + phase) + 0.6 * math.sin(y / (1.3 + 4 * near) + 2 * phase)
        shift = int(sway * ripple * (0.3 + 2.4 * near))
        row = water.crop((0, y, picture.width, y + 1))
        picture.paste(row, (0, horizon + y))  # fills the edge that the shifted row leaves free
        picture.paste(row, (shift, horizon + y))


def shimmer(picture: Image.Image, center: float, top: int, spread: float, color: Color, *, seed: int) -> None:
    """Adds streaks of light on water below a light, in place: denser in the middle, longer in front."""
    chance = random.Random(seed)  # noqa: S311  decoration
    layer = Image.new("L", picture.size)
    draw = ImageDraw.Draw(layer)
    for _ in range(420):
        near = chance.random() ** 0.8
        y = top + near * (picture.height - top)
        x = center + chance.gauss(0, spread * (0.35 + near))
        half = (6 + 46 * near) * chance.uniform(0.4, 1.2)
        thick = 1 + 3.2 * near
        draw.ellipse((x - half, y - thick, x + half, y + thick), fill=int(chance.uniform(30, 150)))
    picture.paste(color, mask=layer.filter(ImageFilter.GaussianBlur(1.2)))


def clouds(picture: Image.Image, band: tuple[float, float], color: Color, *, seed: int, count: int) -> None:
    """Adds long soft clouds between two fractions of the height, in place."""
    chance = random.Random(seed)  # noqa: S311  decoration
    layer = Image.new("L", picture.size)
    draw = ImageDraw.Draw(layer)
    for _ in range(count):
        x, y = chance.uniform(0, picture.width), chance.uniform(*band) * picture.height
        for _ in range(9):
            dx, dy = chance.gauss(0, picture.width * 0.055), chance.gauss(0, picture.height * 0.007)
            w, h = chance.uniform(60, 190), chance.uniform(5, 15)
            draw.ellipse((x + dx - w, y + dy - h, x + dx + w, y + dy + h), fill=chance.randrange(60, 130))
    picture.paste(color, mask=layer.filter(ImageFilter.GaussianBlur(9)))


def stars(picture: Image.Image, lowest: float, count: int, seed: int) -> None:
    """Scatters stars over the sky down to a height in pixels, in place; fewer towards it."""
    chance = random.Random(seed)  # noqa: S311  decoration
    draw = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y = chance.uniform(0, picture.width), chance.random() ** 1.4 * lowest
        light = chance.randrange(120, 250)
        r = 0.7 if chance.random() < 0.85 else 1.5  # noqa: PLR2004  a few are bright
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(light, light, min(255, light + 20)))


def mist(canvas: Image.Image, middle: float, thick: float, color: Color, strength: float) -> None:
    """Adds a soft band of mist around a height, in place."""
    strip = Image.new("L", (1, canvas.height))
    for y in range(canvas.height):
        strip.putpixel((0, y), int(255 * strength * math.exp(-(((y - middle) / thick) ** 2) * 2)))
    canvas.paste(color, mask=strip.resize(canvas.size))
