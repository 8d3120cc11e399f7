"""The shipped model is the vendor's page, and the vendor's other schemas load without a word of ours."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.catalog.catalog import SHIPPED, load_catalog
from app.catalog.validate import violations
from app.documents.generations.models import model

SEED = "bytedance/dreamina-3-0/image-to-video"
OTHERS = Path(__file__).parents[1] / "data" / "models"
CATALOG = load_catalog(SHIPPED, OTHERS)
IMAGE = "https://playgrounds-storage-public.runcomfy.net/tools/7002/media-files/usecase5-1-1-input.jpg"


def digest(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # Of the JSON on the vendor's page, in its own order of keys, white space apart.
        ("input_schema", "19757425ab4176f2f0f58752705ed3d2cf39cf2c09481a36045e0bf24c181a43"),
        ("output_schema", "d40a0a3c883302b7696b9b4bc01dfd30d1d7f08fb48cc5da83854364edc8c880"),
    ],
)
def test_the_seed_is_the_vendors_page_to_the_letter(key: str, expected: str) -> None:
    file = json.loads((SHIPPED / f"{SEED}.json").read_text())
    assert digest(file[key]) == expected
    assert digest(dict(model(CATALOG.models[SEED]))[key]) == expected


def test_the_seed_is_public_in_the_vendors_shape() -> None:
    document = model(CATALOG.models[SEED])
    assert list(document)[:11] == [
        "model_id",
        "display_name",
        "kind",
        "categories",
        "base_price_usd",
        "price_unit",
        "model_url",
        "inputs",
        "required_inputs",
        "input_schema",
        "output_schema",
    ]
    assert (document["kind"], document["categories"]) == ("model", ["image-to-video"])
    assert (document["base_price_usd"], document["price_unit"]) == (0.03, "second")
    assert document["model_url"] == f"https://www.runcomfy.com/models/{SEED}"
    assert document["inputs"] == ["image_urls", "prompt", "number_of_frames", "resolution", "seed"]
    assert document["required_inputs"] == ["image_urls", "prompt"]
    assert document["pricing"]["version"] == "example-1"
    assert "example" in document["pricing"]["note"].lower()
    assert document["warnings"] == []
    assert json.loads(json.dumps(document)) == document


def test_media_rules_are_listed_as_enforced() -> None:
    rules = model(CATALOG.models[SEED])["media_rules"]
    assert [(rule["rule"], rule["value"]) for rule in rules] == [
        ("file_size_mb<", 4.7),
        ("width_pixels<=", 4096),
        ("height_pixels<=", 4096),
        ("shortest_side_pixels>=", 320),
        ("width/height<=", 3),
        ("width/height>", 0.33),
    ]
    assert {(rule["pointer"], rule["kind"], rule["enforced"]) for rule in rules} == {
        ("/image_urls/*", "image", True)
    }
    assert all(rule["note"] is None for rule in rules)


def test_all_models_load_sorted_and_without_warnings() -> None:
    assert len(CATALOG.models) == 6
    assert list(CATALOG.models) == sorted(CATALOG.models)
    assert all(model.warnings == () for model in CATALOG.models.values())


GOOD: list[tuple[str, dict[str, Any]]] = [
    (SEED, {"image_urls": [IMAGE], "prompt": "the woman is standing"}),
    (
        SEED,
        {"image_urls": [IMAGE], "prompt": "", "number_of_frames": 241.0, "resolution": "1080P", "seed": -1},
    ),
    ("kling/kling-video-o3/4K/reference-to-video", {"prompt": "a", "images": [IMAGE] * 9, "sound": True}),
    ("bytedance/seed-audio-1.0/text-to-audio", {"prompt": "a", "speed": 0.5, "image_url": IMAGE}),
    ("bytedance/seedance-2.5/reference-to-video/4k", {"prompt": "a", "videos": [IMAGE], "duration": 30}),
    ("bytedance/seedream-5.0-pro/image-to-image", {"prompt": "a", "image": [IMAGE] * 10}),
    ("wan-ai/wan-2.7/edit", {"prompt": "a", "image_urls": [IMAGE], "seed": 2147483647}),
]
BAD: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    (SEED, {}, [("#/image_urls", "required"), ("#/prompt", "required")]),
    (SEED, {"image_urls": [], "prompt": 1}, [("#/image_urls", "too_few_items"), ("#/prompt", "type")]),
    (
        "kling/kling-video-o3/4K/reference-to-video",
        {"images": ["x"]},
        [("#/images/0", "media_uri"), ("#/prompt", "required")],
    ),
    (
        "bytedance/seed-audio-1.0/text-to-audio",
        {"prompt": "", "speed": 0.4, "pitch": 13},
        [("#/pitch", "too_large"), ("#/speed", "too_small")],
    ),
    ("bytedance/seedance-2.5/reference-to-video/4k", {"prompt": "", "videos": [1]}, [("#/videos/0", "type")]),
    (
        "bytedance/seedream-5.0-pro/image-to-image",
        {"prompt": "", "image": [IMAGE] * 11},
        [("#/image", "too_many_items")],
    ),
    (
        "wan-ai/wan-2.7/edit",
        {"prompt": "", "image_urls": IMAGE, "Seed": 1},
        [("#/Seed", "unknown_field"), ("#/image_urls", "type")],
    ),
]


@pytest.mark.parametrize(("model_id", "body"), GOOD)
def test_a_good_body_passes(model_id: str, body: dict[str, Any]) -> None:
    assert violations(CATALOG.models[model_id], body) == []


@pytest.mark.parametrize(("model_id", "body", "expected"), BAD)
def test_a_bad_body_fails_with_all_its_faults(
    model_id: str, body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    found = violations(CATALOG.models[model_id], body)
    assert [(violation.pointer, violation.code) for violation in found] == expected


def test_validation_fills_in_nothing() -> None:
    body = {"image_urls": [IMAGE], "prompt": "x"}
    assert violations(CATALOG.models[SEED], body) == []
    assert body == {"image_urls": [IMAGE], "prompt": "x"}
