"""Facts against rules: exactly as written; and which types the words of a model name."""

import random
from fractions import Fraction

import pytest

from app.catalog.media.judge import breaks, faults_of, is_enforced, size_limit
from app.catalog.media.rules import MediaKind, MediaRule, parse_rule
from app.catalog.media.types import types_named
from app.catalog.schema import MediaInput
from app.media.facts import Facts


def rule(text: str, value: float, message: str | None = None) -> MediaRule:
    parsed, _ = parse_rule(
        {"validation_rule": text, "validation_value": value, "validation_error": message}, ("v",)
    )
    return parsed


def place(*rules: MediaRule, kind: MediaKind = "image", types: tuple[str, ...] = ()) -> MediaInput:
    return MediaInput(("image",), kind, rules, frozenset(types))


@pytest.mark.parametrize(
    ("text", "value", "facts", "broken"),
    [
        ("file_size_mb<", 4.7, Facts("image/png", 4_699_999), False),
        ("file_size_mb<", 4.7, Facts("image/png", 4_700_000), True),
        ("file_size_mb<=", 4.7, Facts("image/png", 4_700_000), False),
        ("file_size_mb<=", 4.7, Facts("image/png", 4_700_001), True),
        ("file_size_mb>", 0.000001, Facts("image/png", 1), True),
        ("file_size_mb>", 0.000001, Facts("image/png", 2), False),
        ("width_pixels<=", 4096, Facts("image/png", 1, 4096, 1), False),
        ("width_pixels<=", 4096, Facts("image/png", 1, 4097, 1), True),
        ("width_pixels<", 4096, Facts("image/png", 1, 4096, 1), True),
        ("width_pixels>", 14, Facts("image/png", 1, 14, 99), True),
        ("height_pixels>", 14, Facts("image/png", 1, 99, 15), False),
        ("height_pixels>=", 14, Facts("image/png", 1, 99, 13), True),
        ("shortest_side_pixels>=", 320, Facts("image/png", 1, 320, 900), False),
        ("shortest_side_pixels>=", 320, Facts("image/png", 1, 900, 319), True),
        ("width/height<=", 3, Facts("image/png", 1, 960, 320), False),
        ("width/height<=", 3, Facts("image/png", 1, 961, 320), True),
        ("width/height>", 0.33, Facts("image/png", 1, 33, 100), True),
        ("width/height>", 0.33, Facts("image/png", 1, 331, 1000), False),
        ("width/height>", 0.0625, Facts("image/png", 1, 1, 16), True),
        ("width/height<", 16, Facts("image/png", 1, 16, 1), True),
        # What is not known breaks nothing.
        ("width_pixels<=", 1, Facts("image/avif", 1), False),
        ("file_size_mb<", 1, Facts("image/png"), False),
        ("colour_depth<", 1, Facts("image/png", 1, 1, 1), False),
    ],
)
def test_a_rule_is_compared_as_it_is_written(text: str, value: float, facts: Facts, broken: bool) -> None:
    assert breaks(rule(text, value), facts) is broken


def test_no_rounding_ever_decides() -> None:
    chance = random.Random(4)  # noqa: S311 - draws cases, guards nothing
    for _ in range(5_000):
        hundredths, height = chance.randrange(1, 400), chance.randrange(1, 5_000)
        exact = Fraction(hundredths, 100) * height
        for width in {int(exact), int(exact) + 1} - {0}:
            facts = Facts("image/png", 1, width, height)
            above = Fraction(width, height) > Fraction(hundredths, 100)
            assert breaks(rule("width/height>", hundredths / 100), facts) is not above
            assert breaks(rule("width/height<=", hundredths / 100), facts) is above


def test_every_broken_rule_is_told_once_in_the_vendors_words() -> None:
    rules = [
        rule("width_pixels<=", 10, "Too large."),
        rule("height_pixels<=", 10, "Too large."),
        rule("width/height<", 1),
    ]
    assert faults_of(place(*rules), Facts("image/png", 1, 20, 20)) == [
        ("media_rule", "Too large."),
        ("media_rule", "width/height must be < 1."),
    ]


def test_of_a_file_of_the_wrong_type_nothing_else_is_said() -> None:
    strict = place(rule("width_pixels<=", 1), types=("image/jpeg", "image/png"))
    assert faults_of(strict, Facts("image/webp", 1, 20, 20)) == [
        ("media_type", "must be JPEG or PNG, is WebP")
    ]
    assert faults_of(place(kind="video"), Facts("image/png", 1, 2, 2)) == [
        ("media_type", "must be a video, is PNG")
    ]
    assert faults_of(place(kind="any"), Facts("audio/mpeg", 1)) == []
    assert faults_of(place(kind="audio"), Facts("audio/mpeg", 1)) == []


@pytest.mark.parametrize(
    ("text", "kind", "enforced"),
    [
        ("file_size_mb<", "video", True),
        ("width_pixels<", "video", False),
        ("width_pixels<", "image", True),
        ("width_pixels<", "any", True),
        ("duration_s<", "video", False),
    ],
)
def test_what_is_enforced_is_what_can_be_told(text: str, kind: MediaKind, enforced: bool) -> None:
    assert is_enforced(rule(text, 1), kind) is enforced


def test_a_size_matters_up_to_the_largest_that_a_rule_names() -> None:
    assert size_limit(place(rule("width_pixels<", 1))) is None
    assert size_limit(place(rule("file_size_mb>", 0.1), rule("file_size_mb<", 4.7))) == 4_700_001


@pytest.mark.parametrize(
    ("text", "kind", "types"),
    [
        ("Upload JPEG/PNG format", "image", {"image/jpeg", "image/png"}),
        ("jpg, jpeg, .png or WEBP.", "image", {"image/jpeg", "image/png", "image/webp"}),
        ("Supports JPGs and GIFs", "image", {"image/jpeg", "image/gif"}),
        ("MP4/MOV up to 50 MB. A poster as PNG.", "video", {"video/mp4", "video/quicktime"}),
        ("WAV, MP3", "audio", {"audio/wav", "audio/mpeg"}),
        ("JPEG and PNG. Not WebP, never GIF.", "image", {"image/jpeg", "image/png"}),
        ("HEIC isn't supported", "image", set()),
        ("An image of a pngolin, jpegged", "image", set()),
        ("Image", "image", set()),
        ("", "image", set()),
    ],
)
def test_types_are_those_that_the_models_words_name(text: str, kind: MediaKind, types: set[str]) -> None:
    assert types_named([None, text], kind) == types
