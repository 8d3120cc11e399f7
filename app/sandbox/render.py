"""Makes real media from the caller's picture: H.264 video, PNG, WAV. Synchronous, for worker threads.

Pillow's resampling and libx264 release the interpreter lock, so threads are as good as processes.
"""

import array
import io
import math
import random
import wave
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from app.sandbox.fetch import PictureError
from app.sandbox.shape import FPS

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 80_000_000  # below Pillow's own limit; a decoded picture of this size is 320 MB
ZOOM = 1.16  # factor by which the camera moves in; with more, the enlargement would be visible
BT709, LIMITED_RANGE = 1, 1  # FFmpeg's numbers for HD colour and the range that players assume
BACKDROP = (12, 14, 20)  # colour behind a transparent picture
SAMPLE_RATE = 22_050
CHORD_HZ = (220.0, 277.18, 329.63, 440.0)

Box = tuple[float, float, float, float]


class RenderStopped(Exception):  # noqa: N818  not an error: the sandbox is closing
    """The sandbox is closing; the job is rendered again at the next start."""


def decode_picture(data: bytes) -> Image.Image:
    """Returns the picture in RGB, as it is stored.

    An orientation in EXIF is not applied: RunComfy does not say that it is, and the gateway judges the
    picture as stored too.

    Raises:
        PictureError: the bytes are no picture that can be read.

    """
    Image.init()  # with a list of formats, Pillow by itself loads only half of them
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise PictureError(f"the picture has over {MAX_PIXELS} pixels")
            if not opened.has_transparency_data:
                return opened.convert("RGB")
            layer = opened.convert("RGBA")
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise PictureError(f"the picture cannot be decoded: {error}") from error
    backdrop = Image.new("RGB", layer.size, BACKDROP)
    backdrop.paste(layer, mask=layer.getchannel("A"))
    return backdrop


def write_video(
    picture: Image.Image,
    path: Path,
    *,
    size: tuple[int, int],
    frames: int,
    seed: str,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Writes an H.264 MP4 of exactly `frames` frames: a slow camera move over the picture.

    It is yuv420p at 24 fps, with its index in front. seed: the same one gives the same move. stopped: called
    before every frame; RenderStopped is raised when it returns True. The file appears under its name complete
    or not at all.
    """
    partial = path.with_name(path.name + ".part")
    planes = _planes(picture, size)
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            container.metadata["comment"] = "made by the Reelgate sandbox"
            stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "21"})
            _describe(stream, size)
            for index, box in enumerate(_camera(planes[0].size, frames, seed)):
                if stopped():
                    raise RenderStopped
                container.mux(stream.encode(_frame(planes, box, size, index)))
            container.mux(stream.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _planes(picture: Image.Image, size: tuple[int, int]) -> list[Image.Image]:
    """Returns the picture's Y, U and V as grey pictures, `ZOOM` times the frame, so that zooming stays sharp.

    Converting once and moving over the planes, instead of converting every frame, halves the work.
    """
    large = (2 * math.ceil(size[0] * ZOOM / 2), 2 * math.ceil(size[1] * ZOOM / 2))
    fitted = ImageOps.fit(picture, large, Image.Resampling.LANCZOS)
    source = VideoFrame.from_image(fitted)  # type: ignore[no-untyped-call]  # its stub has no types
    frame = source.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
    return [
        Image.frombuffer("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1)
        for plane in frame.planes
    ]


def _describe(stream: VideoStream, size: tuple[int, int]) -> None:
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = Fraction(1, FPS)
    context = stream.codec_context
    context.gop_size = 2 * FPS
    context.thread_count = 1  # the workers are the parallelism
    context.color_range = LIMITED_RANGE
    context.colorspace = context.color_primaries = context.color_trc = BT709


def _camera(large: tuple[int, int], frames: int, seed: str) -> Iterator[Box]:
    """Yields the camera's view for each frame, in pixels of the large picture.

    It moves in, out or sideways, slowly at both ends.
    """
    chance = random.Random(seed)  # noqa: S311  decoration, not secrets
    corner = (chance.uniform(0.15, 0.85), chance.uniform(0.15, 0.85))
    near: Box = _window(large, 1 / ZOOM, corner)
    moves: list[tuple[Box, Box]] = [
        ((0.0, 0.0, float(large[0]), float(large[1])), near),
        (near, (0.0, 0.0, float(large[0]), float(large[1]))),
        (_window(large, 1 / ZOOM, (0.0, corner[1])), _window(large, 1 / ZOOM, (1.0, corner[1]))),
    ]
    start, end = chance.choices(moves, weights=(3, 1, 2))[0]
    for index in range(frames):
        done = index / max(1, frames - 1)
        eased = 0.5 - 0.5 * math.cos(math.pi * done)
        yield (
            start[0] + (end[0] - start[0]) * eased,
            start[1] + (end[1] - start[1]) * eased,
            start[2] + (end[2] - start[2]) * eased,
            start[3] + (end[3] - start[3]) * eased,
        )


def _window(large: tuple[int, int], share: float, corner: tuple[float, float]) -> Box:
    """Returns a window with that fraction of both sides.

    Corner (0, 0) is top left and (1, 1) bottom right.
    """
    width, height = large[0] * share, large[1] * share
    left, top = (large[0] - width) * corner[0], (large[1] - height) * corner[1]
    return (left, top, left + width, top + height)


def _frame(planes: list[Image.Image], box: Box, size: tuple[int, int], index: int) -> VideoFrame:
    frame = VideoFrame(size[0], size[1], "yuv420p")
    for source, target in zip(planes, frame.planes, strict=True):
        across, down = source.width / planes[0].width, source.height / planes[0].height
        seen = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        shot = source.resize((target.width, target.height), Image.Resampling.BILINEAR, box=seen)
        target.update(shot.tobytes("raw", "L", target.line_size, 1))
    frame.pts = index
    frame.time_base = Fraction(1, FPS)
    frame.color_range, frame.colorspace = LIMITED_RANGE, BT709
    return frame


def write_image(picture: Image.Image, path: Path) -> None:
    """Writes the picture as PNG."""
    partial = path.with_name(path.name + ".part")
    picture.save(partial, "PNG")
    partial.replace(path)


def write_tone(path: Path, seconds: float) -> None:
    """Writes a soft chord as mono 16-bit WAV."""
    count = max(1, int(seconds * SAMPLE_RATE))
    second = [
        sum(math.sin(2 * math.pi * hertz * n / SAMPLE_RATE) for hertz in CHORD_HZ) / len(CHORD_HZ)
        for n in range(SAMPLE_RATE)
    ]
    fade = SAMPLE_RATE / 10  # samples to fade in and out, so that neither end clicks
    samples = array.array(
        "h",
        (
            int(16_000 * second[n % SAMPLE_RATE] * min(1.0, n / fade, (count - n) / fade))
            for n in range(count)
        ),
    )
    partial = path.with_name(path.name + ".part")
    with wave.open(str(partial), "wb") as sound:
        sound.setparams((1, 2, SAMPLE_RATE, count, "NONE", "not compressed"))
        sound.writeframes(samples.tobytes())
    partial.replace(path)
