"""A file that lies in a store is seen by its parts as it is seen whole, and never read beyond its header."""

import pytest

from app.media.facts import UnreadableError, facts_by_parts, facts_of
from tests.pictures import jpeg, png, png_with_profile

pytestmark = pytest.mark.anyio

HTML = b"<html><body>" + b"x" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        png(),
        png(size_bytes=3_000_000),
        png_with_profile(1_000_000),
        jpeg(before=300_000),
        jpeg()[:100],
        HTML,
        b"",
    ],
    ids=["png", "large png", "profile", "jpeg", "cut", "html", "empty"],
)
async def test_a_file_is_seen_by_its_parts_as_it_is_seen_whole(data: bytes) -> None:
    asked = []

    async def part(at: int, length: int) -> bytes:
        asked.append(length)
        return data[at : at + length]

    try:
        wanted = facts_of(data)
    except UnreadableError as error:
        with pytest.raises(UnreadableError, match=str(error)[:20]):
            await facts_by_parts(len(data), part)
    else:
        assert await facts_by_parts(len(data), part) == wanted
    assert len(asked) <= 3
    assert sum(asked) <= 400_000


async def test_a_header_of_endless_parts_is_given_up_after_a_bounded_number_of_bytes() -> None:
    begin, part_of_it = png()[:33], b"\0\0\0\0teXt\0\0\0\0"
    asked = []

    async def part(at: int, length: int) -> bytes:
        asked.append(length)
        return (begin + part_of_it * (at + length))[at : at + length] if at < 10**7 else b""

    with pytest.raises(UnreadableError):
        await facts_by_parts(2**31, part)
    assert sum(asked) < 9_000_000
