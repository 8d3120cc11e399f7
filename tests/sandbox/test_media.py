"""What is rendered, fetched and served."""

import base64
import io
import itertools
import struct
import time
import wave
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.frame import VideoFrame
from PIL import Image, ImageChops, ImageStat

from app.media.formats import see
from app.sandbox import render
from app.sandbox.fetch import PictureError
from app.sandbox.pictures import SAMPLES, open_sample
from tests.beside import Quiet, serving
from tests.sandbox.harness import Running, running


def picture_bytes(
    size: tuple[int, int] = (640, 360), color: str = "teal", kind: str = "PNG", mode: str = "RGB"
) -> bytes:
    """A chessboard of the colour and a dark one: a camera that moves or zooms shows something else."""
    picture = Image.new(mode, size, color)
    width, height = size[0] // 8, size[1] // 8
    for row, column in itertools.product(range(8), range(8)):
        if (row + column) % 2:
            left, top = column * width, row * height
            picture.paste("#202020", (left, top, left + width, top + height))
    data = io.BytesIO()
    picture.save(data, kind)
    return data.getvalue()


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def rgb(frame: VideoFrame) -> Image.Image:
    picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # its stub has no types
    return picture


def frames_of(video: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(video), "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 24
        return [rgb(frame) for frame in container.decode(stream)]


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean colours' largest difference, in steps of 255."""
    pairs = zip(ImageStat.Stat(one).mean, ImageStat.Stat(other).mean, strict=True)
    return max(abs(a - b) for a, b in pairs)


def changed(one: Image.Image, other: Image.Image) -> float:
    """How much the two differ from pixel to pixel: the mean of all channels, in steps of 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def video_of(sandbox: Running, **fields: Any) -> bytes:
    result = sandbox.finish(sandbox.submit("a boat", **fields))
    assert result["status"] == "succeeded", result
    return sandbox.client.get(result["output"]["video"]).content


def test_the_video_is_the_caller_s_picture_moving_with_the_asked_length_and_size(shared: Running) -> None:
    data = picture_bytes((1600, 900))
    video = video_of(shared, image_urls=[data_uri(data)], number_of_frames=25, resolution="720P")
    frames = frames_of(video)
    assert len(frames) == 25
    assert {frame.size for frame in frames} == {(1280, 720)}
    original = Image.open(io.BytesIO(data)).convert("RGB")
    assert max(distance(frame, original) for frame in frames) < 25  # any move shows most of it
    assert changed(frames[0], frames[-1]) > 10  # it moved; a random move of this picture changes 35 or more
    assert video.index(b"moov") < video.index(b"mdat")  # playable before it is all there


def test_colours_survive_the_conversion(tmp_path: Path) -> None:
    for color in ((200, 40, 40), (40, 180, 60), (50, 60, 200), (250, 250, 250)):
        flat = Image.new("RGB", (320, 180), color)
        render.write_video(flat, tmp_path / "a.mp4", size=(320, 180), frames=2, seed="x")
        with av.open(str(tmp_path / "a.mp4")) as container:
            context = container.streams.video[0].codec_context
            assert (context.colorspace, context.color_range) == (1, 1)
            frame = next(container.decode(video=0))
        got = rgb(frame.reformat(format="rgb24", src_colorspace="ITU709"))
        assert distance(got, flat) < 8


def test_every_camera_move_changes_the_view_smoothly_within_the_picture(tmp_path: Path) -> None:
    starts = set()
    for seed in range(12):
        boxes = list(render._camera((1486, 836), 24, str(seed)))
        starts.add((boxes[0], boxes[-1]))
        assert boxes[0] != boxes[-1]
        for left, top, right, bottom in boxes:
            assert -0.01 <= left < right <= 1486.01
            assert -0.01 <= top < bottom <= 836.01
        steps = [abs(b[0] - a[0]) + abs(b[2] - a[2]) for a, b in itertools.pairwise(boxes)]
        assert max(steps) < 40
    assert len(starts) > 6


def test_a_portrait_at_1080p_keeps_its_orientation(tmp_path: Path) -> None:
    render.write_video(
        Image.new("RGB", (900, 1600), "navy"), tmp_path / "a.mp4", size=(1080, 1920), frames=3, seed="x"
    )
    assert {frame.size for frame in frames_of((tmp_path / "a.mp4").read_bytes())} == {(1080, 1920)}


@pytest.mark.parametrize("size", [(962, 526), (1662, 1248), (402, 1288)])
def test_sizes_off_the_memory_grid_are_not_skewed(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "teal")
    picture.paste("#202020", (size[0] // 2, 0, *size))
    render.write_video(picture, tmp_path / "a.mp4", size=size, frames=2, seed="x")
    frame = frames_of((tmp_path / "a.mp4").read_bytes())[0]
    left, right = frame.crop((0, 0, size[0] // 4, size[1])), frame.crop((size[0] * 3 // 4, 0, *size))
    assert distance(left, Image.new("RGB", left.size, "teal")) < 12
    assert distance(right, Image.new("RGB", right.size, "#202020")) < 12


def test_stopping_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(render.RenderStopped):
        render.write_video(
            Image.new("RGB", (64, 64)),
            tmp_path / "a.mp4",
            size=(64, 64),
            frames=9,
            seed="x",
            stopped=lambda: True,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("PNG", "P"), ("WEBP", "RGB"), ("GIF", "P")],
)
def test_every_usual_kind_of_picture_is_decoded(kind: str, mode: str) -> None:
    data = io.BytesIO()
    Image.new(mode, (40, 30)).save(data, kind)
    picture = render.decode_picture(data.getvalue())
    assert (picture.mode, picture.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_taken_as_it_is_stored_here_and_by_the_gateway(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, kind, exif=exif)
    seen = see(data.getvalue())
    assert render.decode_picture(data.getvalue()).size == (seen.width, seen.height) == (40, 30)


def test_a_picture_that_cannot_be_read_says_so() -> None:
    for data in (b"", b"GIF89a", picture_bytes()[:60], b"<svg/>"):
        with pytest.raises(PictureError):
            render.decode_picture(data)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    for side in (9_500, 20_000):
        with pytest.raises(PictureError):
            render.decode_picture(_black_png(side))


def _black_png(side: int) -> bytes:
    """A whole picture of one bit a pixel, written sooner than by Pillow."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(side * (1 + (side + 7) // 8)), level=1)),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(data)) + name + data + _checksum(name + data) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _checksum(chunk: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(chunk))


def test_image_models_answer_the_picture_as_png_and_audio_models_a_sound(shared: Running) -> None:
    model = "sandbox/brush/image-to-image"
    result = shared.finish(shared.submit("x", model_id=model, image_url=data_uri(picture_bytes())))
    image = Image.open(io.BytesIO(shared.client.get(result["output"]["image"]).content))
    assert (image.format, image.size) == ("PNG", (640, 360))
    result = shared.finish(shared.submit("x", model_id="sandbox/chord/text-to-audio", duration=2))
    answer = shared.client.get(result["output"]["audio"])
    assert answer.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert sound.getnframes() / sound.getframerate() == 2


SMALL: dict[str, Any] = {"number_of_frames": 2, "resolution": "240P"}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (data_uri(b"no picture"), "decoded"),
        ("data:image/png,plain", "data: URI"),
        ("file:///etc/passwd", "neither"),
        ("ftp://a.example/x.png", "neither"),
        ("http://[::1/x.png", "not a URL"),
        ("just words", "neither"),
        ("OWN/samples/nothing.png", "no /samples"),
        ("OWN/files/../jobs/x", "no /files"),
        ("OWN/files/none.mp4", "no /files"),
    ],
)
def test_a_picture_that_cannot_be_had_fails_the_job_with_a_reason(
    shared: Running, reference: str, words: str
) -> None:
    reference = reference.replace("OWN", shared.options.public_url)
    result = shared.finish(shared.submit("x", image_urls=[reference], **SMALL))
    assert result["status"] == "failed"
    assert words in result["error"]


def test_a_long_data_uri_is_rendered_but_abridged_in_the_books(shared: Running) -> None:
    noise = Image.effect_noise((640, 360), 90).convert("RGB")
    data = io.BytesIO()
    noise.save(data, "PNG")
    uri = data_uri(data.getvalue())
    request_id = shared.submit("x", image_urls=[uri], **SMALL)
    recorded = shared.last_submission()["input"]["image_urls"][0]
    assert len(recorded) < 200
    assert str(len(uri)) in recorded
    assert shared.finish(request_id)["status"] == "succeeded"


def test_own_samples_are_read_without_http_and_other_hosts_are_drawn(shared: Running) -> None:
    own = video_of(shared, image_urls=[f"{shared.options.public_url}/samples/city.jpg"], **SMALL)
    sample = open_sample("city.jpg")
    assert distance(frames_of(own)[0], sample) < 12
    foreign = video_of(shared, image_urls=["https://pictures.example/boat.jpg"], **SMALL)
    assert frames_of(foreign)[0].size == (426, 240)
    assert frames_of(video_of(shared, **SMALL))


class _Host(Quiet, BaseHTTPRequestHandler):
    """A host with one picture, one redirect and one endless file."""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/picture")
            self.end_headers()
            return
        data = picture_bytes() if self.path == "/picture" else b"x" * 200_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def host() -> Iterator[str]:
    with serving(_Host) as port:
        yield f"127.0.0.1:{port}"


def test_an_allowed_host_is_fetched_without_redirects_within_the_limit(tmp_path: Path, host: str) -> None:
    with running(tmp_path, allow_hosts=(host,), max_picture_bytes=100_000) as sandbox:
        frame = frames_of(video_of(sandbox, image_url=f"http://{host}/picture", **SMALL))[0]
        assert distance(frame, Image.open(io.BytesIO(picture_bytes())).convert("RGB")) < 40
        for path, words in (("redirect", "HTTP 302"), ("big", "over 100000 bytes")):
            result = sandbox.finish(sandbox.submit("x", image_url=f"http://{host}/{path}", **SMALL))
            assert (result["status"], words in result["error"]) == ("failed", True)
        gone = sandbox.finish(sandbox.submit("x", image_url=f"http://{host[:-1]}0/", **SMALL))
        assert gone["status"] in {"succeeded", "failed"}


def test_files_are_served_with_ranges_and_head(shared: Running) -> None:
    url = shared.finish(shared.submit("x", **SMALL))["output"]["video"]
    whole = shared.client.get(url)
    assert (whole.headers["content-type"], whole.headers["accept-ranges"]) == ("video/mp4", "bytes")
    size = len(whole.content)
    part = shared.client.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{size}"
    tail = shared.client.get(url, headers={"Range": "bytes=-5"})
    assert tail.content == whole.content[-5:]
    beyond = shared.client.get(url, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    head = shared.client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))


def test_nothing_but_rendered_files_is_served(shared: Running) -> None:
    request_id = shared.submit("x [sandbox:fail]")
    (shared.options.data_dir / "files" / "half.mp4.part").write_bytes(b"x")
    for name in (f"..%2Fjobs%2F{request_id}.json", "half.mp4.part", "%2e%2e/jobs", ".mp4", "a%00.mp4"):
        assert shared.client.get(f"/files/{name}").status_code == 404


def test_samples_need_no_token_and_are_what_they_are_said_to_be(shared: Running) -> None:
    shared.client.headers.pop("authorization")
    try:
        listed = shared.json("/samples")["samples"]
        assert [each["name"] for each in listed] == [each.name for each in SAMPLES]
        for each in listed:
            answer = shared.client.get(each["url"])
            assert answer.headers["content-type"] == each["type"]
            assert len(answer.content) < 2_000_000
            assert Image.open(io.BytesIO(answer.content)).size == (each["width"], each["height"])
        assert {each["type"] for each in listed} == {"image/jpeg", "image/png"}
    finally:
        shared.client.headers["Authorization"] = f"Bearer {shared.options.token}"


def test_status_is_answered_while_rendering_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, concurrency=3) as own:  # its end stops the rendering
        busy = [own.submit("x", resolution="1080P", number_of_frames=24) for _ in range(3)]
        own.clock.now += own.options.queue_s + own.options.run_s
        times = []
        for _ in range(30):
            began = time.monotonic()
            assert own.status(busy[-1])["status"] == "in_progress"
            times.append(time.monotonic() - began)
        assert sorted(times)[len(times) // 2] < 2.0  # a starved loop would answer after seconds
