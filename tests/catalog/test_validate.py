"""Every violation at once, each in its place and in words that help; and no body that breaks the judge."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog.catalog import SHIPPED, load_catalog
from app.catalog.media.policy import MediaPolicy
from app.catalog.model import Model, build_model
from app.catalog.validate import MAX_VIOLATIONS, Violation, violations
from tests.pictures import data_uri, png
from tests.profiles import examples

CATALOG = load_catalog(SHIPPED, Path(__file__).parents[1] / "data" / "models")
SEED = CATALOG.models["bytedance/dreamina-3-0/image-to-video"]
IMAGE = "https://example.com/a.png"
PNG = data_uri(png())
FIELDS = "fields: image_urls, prompt, number_of_frames, resolution, seed"
FREE: dict[str, Any] = {"version": "1", "free": True}
GOOD: dict[str, Any] = {"image_urls": [IMAGE], "prompt": "x"}


def seed_faults(**changes: Any) -> list[tuple[str, str, str]]:
    found = violations(SEED, {**GOOD, **changes})
    return [(violation.pointer, violation.code, violation.detail) for violation in found]


# --- words


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"number_of_frames": 122}, ("#/number_of_frames", "enum", "must be one of 121, 241")),
        ({"number_of_frames": "121"}, ("#/number_of_frames", "type", "must be an integer, is a string")),
        ({"number_of_frames": True}, ("#/number_of_frames", "type", "must be an integer, is a boolean")),
        ({"number_of_frames": None}, ("#/number_of_frames", "type", "must be an integer, is null")),
        ({"seed": 0.5}, ("#/seed", "type", "must be an integer, is a number")),
        ({"seed": math.nan}, ("#/seed", "not_json", "must be a finite number")),
        ({"prompt": "é" * 812}, ("#/prompt", "too_long", "must be at most 800 characters long, has 812")),
        ({"image_urls": []}, ("#/image_urls", "too_few_items", "must have at least 1 item, has 0")),
        ({"image_urls": [IMAGE] * 2}, ("#/image_urls", "too_many_items", "must have at most 1 item, has 2")),
        (
            {"resolution": "720p"},
            ("#/resolution", "enum", 'must be one of "720P", "1080P" (did you mean "720P"?)'),
        ),
        (
            {"promt": ""},
            (
                "#/promt",
                "unknown_field",
                f"is not a field of this model (did you mean prompt?); {FIELDS}",
            ),
        ),
        (
            {"a~/ é#%": ""},
            (
                "#/a~0~1%20%C3%A9%23%25",
                "unknown_field",
                f"is not a field of this model; {FIELDS}",
            ),
        ),
    ],
)
def test_one_fault_is_told_in_place_and_plainly(
    changes: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert seed_faults(**changes) == [expected]


@pytest.mark.parametrize("value", [121, 121.0, 241])
def test_integers_may_be_written_as_floats(value: float) -> None:
    assert seed_faults(number_of_frames=value) == []


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**400, id="400 digits"),
        pytest.param(-(10**400), id="minus 400 digits"),
        1e308,
        2**63,
        2**64,
        -0.0,
    ],
)
def test_huge_numbers_are_judged(value: float) -> None:
    assert seed_faults(seed=value) == []
    assert [code for _, code, _ in seed_faults(number_of_frames=value)] == ["enum"]
    wan = CATALOG.models["wan-ai/wan-2.7/edit"]
    codes = [v.code for v in violations(wan, {"prompt": "", "image_urls": [IMAGE], "seed": value})]
    assert codes == ([] if value == 0 else ["too_large"] if value > 0 else ["too_small"])


def test_a_long_list_of_options_is_cut() -> None:
    audio = CATALOG.models["bytedance/seed-audio-1.0/text-to-audio"]
    (found,) = violations(audio, {"prompt": "", "voice": "luna"})
    assert "and" in found.detail
    assert "more" in found.detail
    assert len(found.detail) < 500


@pytest.mark.parametrize("body", [None, True, 3, "x", [], [GOOD], 1.5])
def test_a_body_that_is_no_object(body: Any) -> None:
    assert [(v.pointer, v.code) for v in violations(SEED, body)] == [("#", "type")]


def test_places_are_ordered_by_number_then_name() -> None:
    kling = CATALOG.models["kling/kling-video-o3/4K/reference-to-video"]
    found = violations(kling, {"prompt": "", "images": ["x"] * 12, "z": 1, "a": 1})
    assert [v.pointer for v in found] == ["#/a", *[f"#/images/{index}" for index in range(12)], "#/z"]


# --- media


@pytest.mark.parametrize(
    "url",
    [
        IMAGE,
        "HTTPS://EXAMPLE.com",
        "https://example.com:8443/a?b=c&d=%20#part",
        "https://my_bucket.s3.example.com/ü.png",
        "https://192.0.2.1/x",
        "https://[2001:db8::1]:443/x",
        "https://xn--bcher-kva.example/x",
        "https://example.com/a@b",
        "http://store.local:9000/x",
        "http://plain.local/x",
        "http://[::1]:80/x",
        "https://example.com/" + "a" * (4096 - len("https://example.com/")),
        PNG,
        "data:image/svg+xml;charset=utf-8;base64,AAAA",
        "DATA:image/png;BASE64,AAAA",
        "data:image/png;base64," + "A" * 4_000,
        "data:image/png;base64,AA A",
        "data:image/png;base64,AAAA\n",
        "data:image/png,AAAA",
        "data:;base64,AAAA",
        PNG.replace("image/png", "text/html"),
    ],
)
def test_media_that_pass(url: str) -> None:
    hosts = frozenset({"store.local:9000", "plain.local:80", "[::1]:80"})
    assert violations(SEED, {**GOOD, "image_urls": [url]}, MediaPolicy(hosts)) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "absolute https:// URL or a base64 data:image/"),
        ("a.png", "absolute https:// URL"),
        ("/a.png", "absolute https:// URL"),
        ("//example.com/a.png", "absolute https:// URL"),
        ("ftp://example.com/a", "absolute https:// URL"),
        ("file:///etc/passwd", "absolute https:// URL"),
        ("javascript:alert(1)", "absolute https:// URL"),
        ("http://example.com/a", "plain http is not allowed"),
        ("http://store.local/x", "plain http is not allowed"),
        ("https:/example.com/a", "absolute URL"),
        ("https:example.com", "absolute URL"),
        ("https:///a", "valid host"),
        ("https://", "valid host"),
        ("https://?x", "valid host"),
        ("https://:443/a", "valid host"),
        ("https://user@example.com/a", "without user name"),
        ("https://user:secret@example.com/a", "without user name"),
        ("https://@example.com/a", "without user name"),
        ("https://example.com\\@evil.example/", "backslashes"),
        ("https://exam ple.com/", "without spaces"),
        (" https://example.com/", "absolute https:// URL"),
        ("https://example.com/\n", "without spaces"),
        ("https://example.com/a\tb", "without spaces"),
        ("https://example.com/\x00", "without spaces"),
        ("https://example.com/\u202e", "without spaces"),
        ("https://example.com:99999/", "valid host and port"),
        ("https://example.com:0/", "valid host"),
        ("https://example.com:x/", "valid host and port"),
        ("https://a..b/", "valid host"),
        ("https://bücher.example/", "xn--"),
        ("https://[::1/", "valid host and port"),
        ("https://[fe80::1%25eth0]/", "valid host"),
        ("https://" + "a" * 64 + ".example/", "valid host"),
        ("https://example.com/" + "a" * 4077, "at most 4,096 characters, has 4,097"),
        ("data:image/png;base64,", "with data in it"),
        ("data:image/png;base64,A", "valid base64"),
        ("data:image/png;base64,AAA-", "with + and / instead of - and _"),
        ("data:image/png;base64,é", "valid base64"),
        ("data:image/png;base64", "with a comma before its data"),
        ("data:video/mp4;base64,AAAA", "is of another kind"),
        ("data:text/html;base64,AAAA", "is of another kind"),
    ],
)
def test_media_that_do_not(value: str, says: str) -> None:
    hosts = frozenset({"store.local:9000"})
    found = violations(SEED, {**GOOD, "image_urls": [value]}, MediaPolicy(hosts))
    assert [(v.pointer, v.code) for v in found] == [("#/image_urls/0", "media_uri")]
    assert says in found[0].detail
    assert len(found[0].detail) < 200


def test_data_uris_only_where_allowed() -> None:
    found = violations(SEED, {**GOOD, "image_urls": [PNG]}, MediaPolicy(data_uris=False))
    assert [v.detail for v in found] == ["must be an absolute https:// URL, not a data: URI"]
    found = violations(SEED, {**GOOD, "image_urls": ["x"]}, MediaPolicy(data_uris=False))
    assert [v.detail for v in found] == ["must be an absolute https:// URL"]


# --- bodies that break judges


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prompt": "\ud800"}, [("#/prompt", "not_text")]),
        ({"\ud800": 1}, [("#/%ED%A0%80", "not_text")]),
        ({"image_urls": ["https://\udfff"]}, [("#/image_urls/0", "not_text")]),
        ({"prompt": b"x"}, [("#/prompt", "not_json")]),
        ({"prompt": nested(32)}, [("#/prompt", "type")]),
        ({"seed": -math.inf}, [("#/seed", "not_json")]),
    ],
)
def test_what_is_no_json_is_a_violation(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(pointer, code) for pointer, code, _ in seed_faults(**changes)] == expected


def test_an_integer_too_long_to_write_out_is_refused() -> None:
    assert [(pointer, code) for pointer, code, _ in seed_faults(seed=10**5000)] == [("#/seed", "not_json")]


def test_no_json_passes_where_null_would() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["number", "null"]}}}
    odd = build_model({"input_schema": schema, "pricing": FREE}, "a/b")
    assert violations(odd, {"a": None}) == []
    assert [violation.code for violation in violations(odd, {"a": math.nan})] == ["not_json"]


def test_other_faults_beside_one_that_the_validator_cannot_read_are_still_found() -> None:
    found = [(pointer, code) for pointer, code, _ in seed_faults(prompt="\ud800", seed="x", image_urls=[])]
    assert found == [("#/image_urls", "too_few_items"), ("#/prompt", "not_text"), ("#/seed", "type")]


@pytest.mark.parametrize("depth", [300, 100_000])
def test_bottomless_bodies(depth: int) -> None:
    assert ("#/prompt", "type") in [(pointer, code) for pointer, code, _ in seed_faults(prompt=nested(depth))]


def test_there_is_an_end_to_the_violations() -> None:
    assert len(violations(SEED, {f"k{index}": 1 for index in range(20_000)})) == MAX_VIOLATIONS


# --- properties

ODDS = build_model(
    {
        "input_schema": {
            "type": "object",
            "required": ["o"],
            "properties": {
                "o": {
                    "type": "object",
                    "required": ["k/~"],
                    "properties": {
                        "k/~": {"type": ["integer", "null"], "minimum": 0},
                        "u": {"type": "string", "format": "image_uri"},
                    },
                },
                "l": {
                    "type": "array",
                    "maxItems": 2,
                    "items": {"type": "object", "properties": {"f": {"type": "float", "maximum": 1}}},
                },
                "b": {"type": "boolean", "enum": [True]},
                "x": {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}]},
            },
        },
        "pricing": FREE,
    },
    "odd/model",
)
MODELS = [*CATALOG.models.values(), ODDS]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from([10**400, 1e308, IMAGE, PNG, "data:image/png;base64,", "https://"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def values_of(schema: dict[str, Any], media: bool = False) -> st.SearchStrategy[Any]:
    """Values that the schema accepts, drawn from its own words."""
    if "anyOf" in schema:
        return st.one_of([values_of(branch) for branch in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([values_of_type(kind, schema, media) for kind in kinds])


def values_of_type(kind: str, schema: dict[str, Any], media: bool) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    media = media or schema.get("format", "").endswith("_uri")
    makers: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "null": st.none,
        "boolean": st.booleans,
        "integer": lambda: st.integers(low, high),
        "number": lambda: st.floats(low, high, allow_nan=False, allow_infinity=False),
        "string": lambda: (
            st.sampled_from([IMAGE]) if media else st.text(max_size=schema.get("maxLength", 900))
        ),
        "array": lambda: st.lists(
            values_of(schema["items"]),
            min_size=schema.get("minItems", 0),
            max_size=schema.get("maxItems", 3),
        ),
        "object": lambda: bodies_of(schema),
    }
    return makers[kind]()


def bodies_of(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    required = schema.get("required", [])
    fields = {name: values_of(child) for name, child in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: made for name, made in fields.items() if name not in required},
    )


@given(st.data())
def test_a_body_drawn_from_the_schema_has_no_violation(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(MODELS), label="model")
    body = data.draw(bodies_of(model.compiled.schema), label="body")
    assert violations(model, body) == []


def resolves(body: Any, found: Violation) -> None:
    """The pointer leads to a member of the body, or, for a missing one, to its object."""
    assert found.pointer.startswith("#")
    tokens = [
        unquote(part, errors="surrogatepass").replace("~1", "/").replace("~0", "~")
        for part in found.pointer[1:].split("/")[1:]
    ]
    place = body
    for index, token in enumerate(tokens):
        if isinstance(place, list):
            place = place[int(token)]
        elif found.code == "required" and index == len(tokens) - 1:
            assert token not in place
        else:
            place = place[token]


@settings(max_examples=examples(300))
@given(st.sampled_from(MODELS), st.data())
def test_no_json_value_raises_and_every_violation_has_its_place(model: Model, data: st.DataObject) -> None:
    names = [*model.compiled.schema["properties"], "other", "\ud800"]
    body = data.draw(st.dictionaries(st.sampled_from(names), json_values, max_size=5) | json_values)
    found = violations(model, body)
    assert found == violations(model, body)
    assert len({(violation.pointer, violation.code) for violation in found}) == len(found)
    for violation in found:
        resolves(body, violation)
        assert violation.code
        assert len(violation.detail) <= 500
        assert violation.detail.isprintable()
    if not isinstance(body, dict) or not set(model.compiled.schema["required"]) <= body.keys():
        assert found


FAULTS: list[tuple[str, Callable[[dict[str, Any]], Any], str, str]] = [
    ("prompt", lambda body: body.update(prompt="x" * 801), "#/prompt", "too_long"),
    ("prompt", lambda body: body.update(prompt=7), "#/prompt", "type"),
    ("prompt", lambda body: body.pop("prompt"), "#/prompt", "required"),
    ("image_urls", lambda body: body.update(image_urls=["x"]), "#/image_urls/0", "media_uri"),
    ("image_urls", lambda body: body.update(image_urls=[7]), "#/image_urls/0", "type"),
    ("image_urls", lambda body: body.update(image_urls=[]), "#/image_urls", "too_few_items"),
    ("number_of_frames", lambda body: body.update(number_of_frames=1), "#/number_of_frames", "enum"),
    ("resolution", lambda body: body.update(resolution=1080), "#/resolution", "type"),
    ("seed", lambda body: body.update(seed=True), "#/seed", "type"),
    ("extra", lambda body: body.update(extra=1), "#/extra", "unknown_field"),
    ("more", lambda body: body.update(more={"a": 1}), "#/more", "unknown_field"),
]


@given(st.lists(st.sampled_from(FAULTS), unique_by=lambda fault: fault[0]))
def test_k_independent_faults_give_k_violations(
    chosen: list[tuple[str, Callable[[dict[str, Any]], Any], str, str]],
) -> None:
    body = dict(GOOD)
    for _, spoil, _, _ in chosen:
        spoil(body)
    found = [(violation.pointer, violation.code) for violation in violations(SEED, body)]
    assert found == sorted((pointer, code) for _, _, pointer, code in chosen)


@given(st.text(st.characters(exclude_categories=()), min_size=61))
def test_values_are_never_echoed(value: str) -> None:
    body = {**GOOD, "resolution": value, "image_urls": [value], "number_of_frames": value}
    assert all(value not in violation.detail for violation in violations(SEED, body))
