"""The sandbox's own pictures, drawn by code: a scene in one size always has the same pixels."""

import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from app.sandbox import brush
from app.sandbox.brush import Color, Point


def _boat(draw: ImageDraw.ImageDraw, at: Point, s: float, hull: Color, sail: Color | None) -> None:
    """Draws a sailing boat, its water line at a point; s is its half length in pixels."""
    x, y = at
    draw.polygon(
        [
            (x - s, y - s * 0.2),
            (x + s * 1.1, y - s * 0.25),
            (x + s * 0.78, y + s * 0.1),
            (x - s * 0.82, y + s * 0.1),
        ],
        fill=hull,
    )
    draw.polygon(
        [
            (x - s * 0.5, y - s * 0.2),
            (x - s * 0.4, y - s * 0.42),
            (x + s * 0.15, y - s * 0.42),
            (x + s * 0.3, y - s * 0.2),
        ],
        fill=tuple(min(255, c + 26) for c in hull),
    )
    mast = max(2, int(s * 0.045))
    draw.line((x - s * 0.05, y - s * 0.3, x - s * 0.05, y - s * 2.35), fill=hull, width=mast)
    draw.line((x - s * 0.05, y - s * 2.3, x + s * 1.0, y - s * 0.3), fill=hull, width=1)
    draw.line((x - s * 0.05, y - s * 2.3, x - s * 0.95, y - s * 0.22), fill=hull, width=1)
    if sail is not None:
        draw.polygon([(x, y - s * 2.2), (x + s * 0.92, y - s * 0.5), (x, y - s * 0.5)], fill=sail)
        shade = tuple(int(c * 0.82) for c in sail)
        draw.polygon(
            [(x - s * 0.1, y - s * 2.0), (x - s * 0.1, y - s * 0.5), (x - s * 0.72, y - s * 0.5)], fill=shade
        )


def harbour(size: tuple[int, int]) -> Image.Image:
    """Draws a harbour at dusk: low sun, a town on the hills, boats on still water."""
    width, height = size
    horizon = int(height * 0.56)
    picture = brush.gradient(
        (width, horizon),
        (
            (0.0, (38, 34, 84)),
            (0.4, (122, 66, 124)),
            (0.7, (226, 112, 98)),
            (0.9, (252, 170, 94)),
            (1.0, (255, 206, 128)),
        ),
    )
    canvas = Image.new("RGB", size)
    canvas.paste(picture, (0, 0))
    sun = (width * 0.64, horizon - height * 0.075)
    brush.clouds(canvas, (0.1, 0.4), (255, 168, 140), seed=3, count=12)
    brush.glow(canvas, sun, height * 0.75, (255, 150, 70), 0.75)
    brush.glow(canvas, sun, height * 0.2, (255, 220, 150), 0.9)
    draw = ImageDraw.Draw(canvas)
    r = height * 0.05
    draw.ellipse((sun[0] - r, sun[1] - r, sun[0] + r, sun[1] + r), fill=(255, 240, 200))
    brush.fill_below(draw, brush.ridge(width, horizon - 4, height * 0.16, seed=5), horizon, (146, 82, 110))
    brush.fill_below(draw, brush.ridge(width, horizon + 16, height * 0.13, seed=21), horizon, (92, 56, 92))
    _town(canvas, draw, horizon, width)
    for x, s, color in ((0.2, 0.03, (60, 40, 70)), (0.5, 0.026, (66, 42, 72)), (0.83, 0.034, (58, 38, 66))):
        _boat(draw, (width * x, horizon - 2), height * s, color, None)
    brush.mirror(canvas, horizon, (70, 44, 92), 7, 2.2)
    brush.shimmer(canvas, sun[0], horizon, width * 0.035, (255, 206, 140), seed=9)
    _fleet(canvas, width, height)
    return brush.grain(canvas)


def _town(canvas: Image.Image, draw: ImageDraw.ImageDraw, horizon: int, width: int) -> None:
    """Draws houses along the water with lit windows."""
    chance = random.Random(17)  # noqa: S311  decoration
    x = 0.0
    lights: list[Point] = []
    while x < width:
        w, h = chance.uniform(16, 40), chance.uniform(16, 50)
        color = chance.choice(((74, 46, 76), (66, 42, 74), (82, 50, 78), (60, 40, 70)))
        draw.rectangle((x, horizon - h, x + w, horizon), fill=color)
        draw.polygon(
            [(x - 2, horizon - h), (x + w / 2, horizon - h - w * 0.4), (x + w + 2, horizon - h)],
            fill=(52, 34, 62),
        )
        lights += [
            (x + chance.uniform(4, w - 6), horizon - h + 5 + row * 14)
            for row in range(int(h // 14))
            if chance.random() < 0.6  # noqa: PLR2004  most windows are lit
        ]
        x += w + chance.choice((0, 0, 3, 14))
    for at in lights:
        draw.rectangle((at[0], at[1], at[0] + 3, at[1] + 4), fill=(255, 214, 132))
    for at in lights[::4]:
        brush.glow(canvas, at, 22, (255, 170, 80), 0.5)


def _fleet(canvas: Image.Image, width: int, height: int) -> None:
    """Draws the boats in front, each over its own blurred reflection."""
    for x, y, s, hull, sail in (
        (0.16, 0.70, 0.068, (44, 30, 52), (236, 196, 178)),
        (0.43, 0.66, 0.046, (54, 34, 58), None),
        (0.88, 0.73, 0.075, (40, 26, 46), (226, 168, 150)),
        (0.33, 0.86, 0.105, (30, 20, 38), None),
    ):
        layer = Image.new("RGBA", canvas.size)
        _boat(ImageDraw.Draw(layer), (width * x, height * y), height * s, hull, sail)
        line = int(height * y + height * s * 0.1)
        part = layer.crop((0, 0, width, line)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        part = part.resize((width, int(part.height * 0.8))).filter(ImageFilter.GaussianBlur(3))
        faint = part.getchannel("A").point(lambda v: int(v * 0.55))
        canvas.paste(part.convert("RGB"), (0, line), faint)
        canvas.paste(layer.convert("RGB"), (0, 0), layer.getchannel("A"))


def mountains(size: tuple[int, int]) -> Image.Image:
    """Draws mountains in the morning, range behind range in mist, and a sun."""
    width, height = size
    canvas = brush.gradient(
        size,
        (
            (0.0, (64, 124, 186)),
            (0.3, (134, 182, 214)),
            (0.52, (250, 222, 180)),
            (0.7, (255, 238, 214)),
            (1.0, (240, 220, 200)),
        ),
    )
    sun = (width * 0.34, height * 0.33)
    brush.clouds(canvas, (0.08, 0.3), (255, 250, 242), seed=31, count=10)
    brush.glow(canvas, sun, height * 0.6, (255, 196, 120), 0.34)
    draw = ImageDraw.Draw(canvas)
    r = height * 0.052
    draw.ellipse((sun[0] - r, sun[1] - r, sun[0] + r, sun[1] + r), fill=(255, 250, 228))
    far, near = (162, 180, 204), (22, 52, 58)
    for layer in range(5):
        part = layer / 5
        base, rise = height * (0.60 + 0.45 * part), height * (0.30 - 0.06 * part)
        red, green, blue = (int(f + (n - f) * part**0.8) for f, n in zip(far, near, strict=True))
        points = brush.ridge(width, base, rise, seed=101 + layer * 7, rough=0.52)
        brush.fill_below(ImageDraw.Draw(canvas), points, height, (red, green, blue))
        brush.mist(canvas, base, height * 0.2, (250, 234, 214), 0.5 - 0.06 * layer)
    draw = ImageDraw.Draw(canvas)
    points = brush.ridge(width, height * 1.05, height * 0.24, seed=136, rough=0.58)
    brush.fill_below(draw, points, height, (14, 36, 42))
    _pines(draw, points, (14, 36, 42))
    return brush.grain(canvas)


def _pines(draw: ImageDraw.ImageDraw, points: list[Point], color: Color) -> None:
    """Draws a fir at every point of a skyline."""
    chance = random.Random(43)  # noqa: S311  decoration
    for x, y in points:
        tall = chance.uniform(26, 74)
        for tier in range(4):
            top, half = y - tall + tier * tall * 0.2, tall * (0.07 + 0.055 * tier)
            draw.polygon([(x, top), (x - half, top + tall * 0.36), (x + half, top + tall * 0.36)], fill=color)
        draw.rectangle((x - 2, y - tall * 0.1, x + 2, y + 30), fill=color)


def city(size: tuple[int, int]) -> Image.Image:
    """Draws a city at night over a river, with a moon."""
    width, height = size
    horizon = int(height * 0.7)
    canvas = brush.gradient(
        size, ((0.0, (6, 10, 32)), (0.45, (22, 28, 74)), (0.7, (92, 52, 112)), (1.0, (120, 64, 110)))
    )
    brush.stars(canvas, horizon * 0.75, 330, 51)
    moon = (width * 0.78, height * 0.18)
    brush.glow(canvas, moon, height * 0.36, (150, 170, 220), 0.55)
    draw = ImageDraw.Draw(canvas)
    r = height * 0.045
    draw.ellipse((moon[0] - r, moon[1] - r, moon[0] + r, moon[1] + r), fill=(244, 242, 226))
    brush.glow(canvas, (width * 0.45, horizon), height * 0.6, (230, 110, 120), 0.45)
    _blocks(canvas, horizon, (34, 34, 78), seed=61, rise=(0.14, 0.44), lit=0.12)
    _blocks(canvas, horizon, (18, 20, 52), seed=67, rise=(0.1, 0.52), lit=0.32)
    _blocks(canvas, horizon, (9, 11, 32), seed=71, rise=(0.05, 0.3), lit=0.42)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, horizon - 5, width, horizon), fill=(8, 8, 22))
    for x in range(20, width, 62):
        draw.ellipse((x - 2, horizon - 15, x + 2, horizon - 11), fill=(255, 232, 180))
        brush.glow(canvas, (x, horizon - 13), 26, (255, 186, 100), 0.6)
    brush.mirror(canvas, horizon, (12, 16, 48), 73, 3.2)
    brush.shimmer(canvas, moon[0], horizon, width * 0.02, (200, 208, 236), seed=79)
    return brush.grain(canvas)


def _blocks(
    canvas: Image.Image, horizon: int, color: Color, *, seed: int, rise: tuple[float, float], lit: float
) -> None:
    """Draws a row of towers, a fraction of their windows lit; it is highest in the middle."""
    chance = random.Random(seed)  # noqa: S311  decoration
    draw = ImageDraw.Draw(canvas)
    x = -20.0
    while x < canvas.width:
        w = chance.randrange(42, 108)
        middle = 1 - abs((x + w / 2) / canvas.width - 0.46) * 1.5
        top = horizon - canvas.height * (
            rise[0] + (rise[1] - rise[0]) * max(0.0, middle) * chance.uniform(0.4, 1)
        )
        draw.rectangle((x, top, x + w, horizon), fill=color)
        if chance.random() < 0.3:  # noqa: PLR2004  some carry a mast
            draw.line((x + w / 2, top - chance.uniform(20, 70), x + w / 2, top), fill=color, width=3)
        warm = chance.choice(((255, 206, 120), (255, 226, 164), (190, 216, 255)))
        for wx in range(int(x) + 6, int(x) + w - 6, 10):
            for wy in range(int(top) + 8, horizon - 10, 14):
                if chance.random() < lit:
                    dim = chance.uniform(0.45, 1)
                    draw.rectangle((wx, wy, wx + 4, wy + 6), fill=tuple(int(c * dim) for c in warm))
        x += w + chance.choice((0, 2, 6, 18))


def lighthouse(size: tuple[int, int]) -> Image.Image:
    """Draws a lighthouse on a rock in the evening, its beam over the sea. Meant for upright formats."""
    width, height = size
    horizon = int(height * 0.68)
    canvas = brush.gradient(
        size,
        (
            (0.0, (14, 26, 66)),
            (0.35, (44, 74, 128)),
            (0.55, (150, 128, 158)),
            (0.68, (250, 176, 132)),
            (1.0, (250, 176, 132)),
        ),
    )
    brush.stars(canvas, horizon * 0.5, 160, 81)
    brush.clouds(canvas, (0.4, 0.62), (255, 190, 160), seed=83, count=9)
    brush.glow(canvas, (width * 0.2, horizon), width * 0.8, (255, 150, 90), 0.6)
    brush.mirror(canvas, horizon, (26, 48, 88), 85, 3.0)
    brush.shimmer(canvas, width * 0.2, horizon, width * 0.07, (255, 196, 150), seed=87)
    lamp = (width * 0.62, height * 0.262)
    _beams(canvas, lamp, width)
    draw = ImageDraw.Draw(canvas)
    _tower(draw, width, height)
    rock = [
        (x, y + height * 0.09 * max(0.0, 1 - x / (width * 0.52)) ** 1.5)
        for x, y in brush.ridge(width, height * 0.85, height * 0.1, seed=91, rough=0.62)
        if x > width * 0.2
    ]
    brush.fill_below(draw, [*rock, (float(width), rock[-1][1])], height * 0.885, (30, 30, 44))
    brush.glow(canvas, lamp, width * 0.3, (255, 224, 150), 0.9)
    brush.glow(canvas, lamp, width * 0.08, (255, 250, 220), 1.0)
    foam = ImageDraw.Draw(canvas)
    chance = random.Random(93)  # noqa: S311  decoration
    for _ in range(200):
        x, y = chance.uniform(width * 0.17, width), height * 0.886 + chance.gauss(0, height * 0.004)
        w = chance.uniform(3, 20)
        foam.ellipse((x - w, y - 1, x + w, y + 1), fill=(118, 132, 168))
    return brush.grain(canvas)


def _beams(canvas: Image.Image, lamp: Point, width: int) -> None:
    """Draws two beams of light, fading with distance."""
    layer = Image.new("L", canvas.size)
    draw = ImageDraw.Draw(layer)
    for toward in (-1, 1):
        reach = lamp[0] + toward * width
        draw.polygon(
            [
                (lamp[0], lamp[1] - 7),
                (reach, lamp[1] - width * 0.17),
                (reach, lamp[1] + width * 0.06),
                (lamp[0], lamp[1] + 7),
            ],
            fill=120,
        )
    fade = (
        Image.radial_gradient("L").point(lambda v: max(0, 255 - int(v * 1.5))).resize((2 * width, 2 * width))
    )
    reach_of_light = Image.new("L", canvas.size)
    reach_of_light.paste(fade, (int(lamp[0]) - width, int(lamp[1]) - width))
    mask = ImageChops.multiply(layer.filter(ImageFilter.GaussianBlur(8)), reach_of_light)
    canvas.paste((255, 240, 200), mask=mask)


def _tower(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """Draws a white and red tower, narrowing upwards, with gallery, lamp room and roof; lit from the left."""
    middle, foot, top = width * 0.62, height * 0.82, height * 0.285
    low, high, bands = width * 0.088, width * 0.052, 7
    for band in range(bands):
        a, b = band / bands, (band + 1) / bands
        ya, yb = foot + (top - foot) * a, foot + (top - foot) * b
        wa, wb = low + (high - low) * a, low + (high - low) * b
        color: Color = (232, 226, 220) if band % 2 == 0 else (188, 58, 56)
        for slice_ in range(12):
            s, e = slice_ / 12 * 2 - 1, (slice_ + 1) / 12 * 2 - 1
            light = 1.0 - 0.55 * ((s + 1) / 2) ** 1.3
            shade = tuple(int(c * light) for c in color)
            draw.polygon(
                [(middle + wa * s, ya), (middle + wa * e, ya), (middle + wb * e, yb), (middle + wb * s, yb)],
                fill=shade,
            )
    draw.rectangle((middle - high * 1.35, top - 10, middle + high * 1.35, top + 6), fill=(40, 42, 58))
    draw.rectangle(
        (middle - high * 0.72, top - height * 0.04, middle + high * 0.72, top - 10), fill=(255, 236, 176)
    )
    for x in (-0.72, -0.24, 0.24, 0.72):
        draw.line(
            (middle + high * x, top - height * 0.04, middle + high * x, top - 10), fill=(40, 42, 58), width=4
        )
    roof = top - height * 0.04
    draw.polygon(
        [(middle - high, roof), (middle, roof - height * 0.035), (middle + high, roof)], fill=(150, 44, 46)
    )
    draw.line((middle, roof - height * 0.05, middle, roof - height * 0.03), fill=(40, 42, 58), width=4)
