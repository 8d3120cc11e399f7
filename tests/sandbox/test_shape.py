from typing import Any

import pytest

from app.sandbox.shape import cost_usd, find_picture, frame_count, frame_size, kind_of


@pytest.mark.parametrize(
    ("picture", "resolution", "size"),
    [
        ((1600, 900), None, (1280, 720)),
        ((1366, 768), "720P", (1280, 720)),
        ((1600, 900), "1080p", (1920, 1080)),
        ((900, 1600), "720P", (720, 1280)),
        ((1000, 1000), "720P", (960, 960)),
        ((4000, 3000), "1080P", (1662, 1248)),
        ((1600, 900), "4K", (1920, 1080)),
        ((1600, 900), ["odd"], (1280, 720)),
    ],
)
def test_the_frame_keeps_the_picture_s_shape_in_the_area_of_its_class(
    picture: tuple[int, int], resolution: Any, size: tuple[int, int]
) -> None:
    assert frame_size(picture, resolution) == size


@pytest.mark.parametrize("picture", [(1, 10_000), (10_000, 1), (333, 777), (1, 1)])
def test_both_sides_are_even_whatever_the_picture(picture: tuple[int, int]) -> None:
    for resolution in ("240P", "720P", "1080P"):
        width, height = frame_size(picture, resolution)
        assert width % 2 == height % 2 == 0
        assert min(width, height) >= 100


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        ({}, 121),
        ({"number_of_frames": 241}, 241),
        ({"duration": 5}, 120),
        ({"duration": "6"}, 144),
        ({"duration": "8s"}, 192),
        ({"number_of_frames": 25, "duration": 5}, 25),
        ({"number_of_frames": 10**400}, 121),
        ({"number_of_frames": 100_000}, 721),
        ({"number_of_frames": 0}, 1),
        ({"duration": "long"}, 121),
        ({"duration": True}, 121),
    ],
)
def test_the_number_of_frames_is_the_asked_one_within_bounds(body: dict[str, Any], frames: int) -> None:
    assert frame_count(body) == frames


@pytest.mark.parametrize(
    ("body", "picture"),
    [
        ({"image_urls": ["a", "b"]}, "a"),
        ({"prompt": "x", "image": "a"}, "a"),
        ({"first_frame_image": "a"}, "a"),
        ({"reference_images": ["a"]}, "a"),
        ({"source_url": "b", "image_url": "a"}, "a"),
        ({"source_url": "b"}, "b"),
        ({"image_size": "1024x1024", "number_of_frames": 5}, None),
        ({"video_url": "a", "webhook_url": "b"}, None),
        ({"image_urls": []}, None),
        ({"image_url": 7}, None),
    ],
)
def test_the_picture_is_the_first_media_value(body: dict[str, Any], picture: str | None) -> None:
    assert find_picture(body) == picture


def test_kind_and_price_follow_the_model_and_the_length() -> None:
    assert kind_of("a/b/image-to-video") == kind_of("a/b") == "video"
    assert kind_of("a/b/edit") == kind_of("a/b/text-to-image") == kind_of("a/image-to-image") == "image"
    assert kind_of("a/text-to-audio") == "audio"
    assert cost_usd("a/b", {"duration": 10}, 0.05) == 0.5
    assert cost_usd("a/edit", {}, 0.05) < cost_usd("a/b", {}, 0.05)
