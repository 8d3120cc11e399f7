"""What a copied file is, by its bytes, and whether its end is there."""

import io
import random
import struct
from pathlib import Path

import pytest
from PIL import Image

from app.mirror.whole import CutOffError, NotMediaError, examine


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def picture(kind: str) -> bytes:
    noise = random.Random(kind).randbytes(40 * 30 * 3)  # noqa: S311 - pixels
    written = io.BytesIO()
    Image.frombytes("RGB", (40, 30), noise).save(written, kind)
    return written.getvalue()


BRAND = box(b"ftyp", b"isom\0\0\2\0isomiso2")
LONG = struct.pack(">I4sQ", 1, b"mdat", 56) + b"z" * 40
FILES = {
    "video/mp4": BRAND + box(b"free", b"") + box(b"mdat", b"x" * 300) + box(b"moov", b"y" * 50),
    "video/quicktime": box(b"ftyp", b"qt  \0\0\2\0qt  ") + box(b"moov", b"y" * 50) + LONG,
    "image/png": picture("PNG"),
    "image/jpeg": picture("JPEG"),
    "image/gif": picture("GIF"),
    "image/webp": picture("WEBP"),
}


def seen(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "file"
    path.write_bytes(data)
    return examine(path, len(data))


@pytest.mark.parametrize("media_type", FILES)
def test_a_whole_file_is_told_by_its_bytes_also_with_something_behind_it(
    media_type: str, tmp_path: Path
) -> None:
    assert seen(tmp_path, FILES[media_type]) == media_type
    assert seen(tmp_path, FILES[media_type] + b"\0\0\0") == media_type


@pytest.mark.parametrize("media_type", sorted(FILES.keys() - {"image/gif"}))
def test_a_file_that_was_cut_off_anywhere_is_not_taken_for_a_whole_one(
    media_type: str, tmp_path: Path
) -> None:
    whole = FILES[media_type]
    for length in range(0, len(whole) - 13, 1 + len(whole) // 40):
        with pytest.raises((CutOffError, NotMediaError)):
            seen(tmp_path, whole[:length])


def test_a_box_up_to_the_end_and_a_matroska_have_whatever_end_they_have(tmp_path: Path) -> None:
    until_the_end = struct.pack(">I4s", 0, b"mdat") + b"z" * 40
    assert seen(tmp_path, BRAND + box(b"moov", b"") + until_the_end) == "video/mp4"
    webm = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm" + b"\0" * 90
    assert seen(tmp_path, webm) == "video/webm"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b'{"error": "no such file"}',
        b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40,
        b"ID3\x04" + b"\0" * 60,
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%PDF-1.7",
        b"\x1f\x8b\x08" + b"\0" * 40,
    ],
)
def test_what_is_no_picture_and_no_video_is_not_taken_whatever_it_is_called(
    data: bytes, tmp_path: Path
) -> None:
    with pytest.raises(NotMediaError):
        seen(tmp_path, data)


def test_a_file_with_hundreds_of_thousands_of_boxes_does_not_take_a_thread_for_long(tmp_path: Path) -> None:
    with pytest.raises(CutOffError):
        seen(tmp_path, BRAND + box(b"free", b"") * 200_000)
