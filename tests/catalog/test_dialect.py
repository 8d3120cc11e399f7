"""The dialect's oddities are understood, and what has no effect is said to have none."""

from typing import Any

import jsonschema_rs
import pytest

from app.catalog.model import Model, build_model
from app.catalog.schema import SchemaError, compile_schema, standard_json_schema
from app.catalog.validate import violations
from app.documents.generations.models import model as public

IMAGE = "https://example.com/a.png"


def model(properties: dict[str, Any], **more: Any) -> Model:
    schema = {"type": "object", "properties": properties, **more}
    return build_model({"input_schema": schema, "pricing": {"version": "1", "free": True}}, "a/b")


def faults(of: Model, body: Any) -> list[tuple[str, str]]:
    return [(violation.pointer, violation.code) for violation in violations(of, body)]


def reasons(of: Model) -> dict[str, str]:
    return {warning.pointer: warning.reason for warning in of.warnings}


def test_float_is_number() -> None:
    odd = model({"a": {"type": "float", "minimum": 0.5}})
    assert odd.compiled.schema["properties"]["a"] == {"type": "number", "minimum": 0.5}
    assert faults(odd, {"a": 0.5}) == faults(odd, {"a": 1}) == []
    assert faults(odd, {"a": "1"}) == [("#/a", "type")]


def test_an_enum_of_digit_strings_takes_strings_only() -> None:
    odd = model({"a": {"type": "string", "enum": ["6", "10"]}})
    assert faults(odd, {"a": "6"}) == []
    assert faults(odd, {"a": 6}) == [("#/a", "type")]


def test_an_enum_that_contradicts_its_type_wins_with_a_warning() -> None:
    odd = model({"a": {"type": "integer", "enum": ["6", "10"]}})
    assert faults(odd, {"a": "6"}) == []
    assert faults(odd, {"a": 6}) == [("#/a", "enum")]
    assert "its own values are accepted" in reasons(odd)["/input_schema/properties/a/enum"]


def test_a_required_name_without_property_is_not_demanded() -> None:
    odd = model({"a": {"type": "string"}}, required=["a", "ghost"])
    assert faults(odd, {"a": ""}) == []
    assert faults(odd, {}) == [("#/a", "required")]
    assert "ghost" in reasons(odd)["/input_schema/required/1"]


def test_a_required_name_stays_demanded_where_any_field_may_come() -> None:
    odd = model({"a": {"type": "string"}}, required=["ghost"], additionalProperties=True)
    assert faults(odd, {}) == [("#/ghost", "required")]
    assert "any further field" in reasons(odd)["/input_schema"]


def test_required_with_default_stays_required() -> None:
    assert faults(model({"a": {"type": "string", "default": "x"}}, required=["a"]), {}) == [
        ("#/a", "required")
    ]


def test_a_schema_without_required_demands_nothing() -> None:
    assert faults(model({"a": {"type": "string"}}), {}) == []


@pytest.mark.parametrize(
    ("schema", "kind", "path"),
    [
        ({"type": "string", "format": "video_uri"}, "video", "/m"),
        ({"type": "array", "format": "audio_uris"}, "audio", "/m/*"),
        ({"type": "array", "format": "image_uris", "items": {"type": "string"}}, "image", "/m/*"),
        ({"type": "array", "items": {"type": "string", "format": "image_uri"}}, "image", "/m/*"),
        ({"type": "string", "validations": []}, "any", "/m"),
        ({"type": "array", "validations": []}, "any", "/m/*"),
        ({"type": "array", "items": {"type": "string", "validations": []}}, "any", "/m/*"),
        ({"format": "image_uri"}, "image", "/m"),
        ({"format": "image_uris"}, "image", "/m/*"),
        ({"type": ["string", "null"], "format": "image_uri"}, "image", "/m"),
        ({"anyOf": [{"type": "string", "format": "image_uri"}, {"type": "null"}]}, "image", "/m"),
        (
            {
                "type": "object",
                "properties": {
                    "x": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"u": {"type": "string", "format": "image_uri"}},
                        },
                    }
                },
            },
            "image",
            "/m/x/*/u",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string", "format": "image_uri"}},
            "image",
            "/m/*",
        ),
        ({"type": "string", "format": "mask_uri"}, "any", "/m"),
    ],
)
def test_media_inputs_are_found(schema: dict[str, Any], kind: str, path: str) -> None:
    media = model({"m": schema}).compiled.media
    assert [(found.pointer, found.kind) for found in media] == [(path, kind)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"x": [{"u": IMAGE}]}, []),
        ({"x": [{"u": IMAGE}, {"u": "nope"}]}, [("#/m/x/1/u", "media_uri")]),
        ({"x": [{"w": 1}]}, [("#/m/x/0/w", "unknown_field")]),
        ({"x": [3]}, [("#/m/x/0", "type")]),
    ],
)
def test_nested_media_are_judged_where_they_are(value: Any, expected: list[tuple[str, str]]) -> None:
    item = {"type": "object", "properties": {"u": {"type": "string", "format": "image_uri"}}}
    nested = {"type": "object", "properties": {"x": {"type": "array", "items": item}}}
    assert faults(model({"m": nested}), {"m": value}) == expected


def test_rules_of_an_array_and_of_its_items_are_for_each_element() -> None:
    def rule(value: int) -> dict[str, Any]:
        return {
            "validation_rule": " width_pixels  <= ",
            "validation_value": value,
            "validation_error": "too wide",
        }

    media = model(
        {
            "m": {
                "type": "array",
                "format": "image_uris",
                "validations": [rule(1)],
                "items": {"type": "string", "validations": [rule(2)]},
            }
        }
    ).compiled.media
    assert [(item.metric, item.operator, item.value, item.message) for item in media[0].rules] == [
        ("width_pixels", "<=", 1, "too wide"),
        ("width_pixels", "<=", 2, "too wide"),
    ]
    assert media[0].rules[1].pointer == "/input_schema/properties/m/items/validations/0"


@pytest.mark.parametrize("rule", ["duration_seconds<", "width_pixels=="])
def test_an_unknown_metric_or_operator_is_reported_and_listed_as_not_understood(rule: str) -> None:
    odd = model({"m": {"type": "string", "validations": [{"validation_rule": rule, "validation_value": 1}]}})
    assert "can never be enforced" in reasons(odd)["/input_schema/properties/m/validations/0/validation_rule"]
    assert not odd.compiled.media[0].rules[0].understood
    assert "not checked" in (public(odd)["media_rules"][0]["note"] or "")


def test_a_missing_type_is_inferred_with_a_warning() -> None:
    odd = model(
        {"a": {"properties": {"b": {}}}, "c": {"items": {"type": "string"}}, "d": {"enum": [1, True]}}
    )
    assert faults(odd, {"a": 1}) == [("#/a", "type")]
    assert faults(odd, {"a": {"x": 1}}) == [("#/a/x", "unknown_field")]
    assert faults(odd, {"a": {"b": [None]}}) == []
    assert faults(odd, {"c": "x"}) == [("#/c", "type")]
    assert faults(odd, {"d": 1}) == faults(odd, {"d": True}) == []
    assert faults(odd, {"d": False}) == [("#/d", "enum")]
    assert reasons(odd)["/input_schema/properties/a"] == "has no type: taken as object, because of properties"
    assert reasons(odd)["/input_schema/properties/a/properties/b"] == "has no type: any value is accepted"


@pytest.mark.parametrize("nullable", [{"type": ["string", "null"]}, {"type": "string", "nullable": True}])
def test_nullable_strings(nullable: dict[str, Any]) -> None:
    odd = model({"a": {**nullable, "maxLength": 1}})
    assert faults(odd, {"a": None}) == faults(odd, {"a": "x"}) == []
    assert faults(odd, {"a": "xx"}) == [("#/a", "too_long")]
    assert faults(odd, {"a": 1}) == [("#/a", "type")]


def test_a_boolean_enum() -> None:
    odd = model({"a": {"type": "boolean", "enum": [True]}})
    assert faults(odd, {"a": True}) == []
    assert faults(odd, {"a": False}) == [("#/a", "enum")]
    assert faults(odd, {"a": 1}) == [("#/a", "type")]


@pytest.mark.parametrize("keyword", ["x-order", "order", "placeholder", "examples"])
def test_annotations_are_kept_without_effect_and_with_a_warning(keyword: str) -> None:
    odd = model({"a": {"type": "string", keyword: 1}})
    assert "no effect" in reasons(odd)[f"/input_schema/properties/a/{keyword}"]
    assert odd.compiled.schema["properties"]["a"] == {"type": "string"}
    assert odd.compiled.published["properties"]["a"][keyword] == 1


def test_a_misspelt_keyword_is_warned_of_with_the_right_one() -> None:
    odd = model({"a": {"type": "string", "maxlength": 1}})
    assert reasons(odd)["/input_schema/properties/a/maxlength"].endswith("did you mean maxLength?")


@pytest.mark.parametrize(
    ("schema", "good", "bad", "code"),
    [
        ({"type": "string", "pattern": "^a+$"}, "aa", "b", "pattern"),
        ({"type": "number", "multipleOf": 0.5}, 1.5, 0.7, "multiple_of"),
        ({"type": "array", "items": {"type": "number"}, "uniqueItems": True}, [1, 2], [1, 1.0], "not_unique"),
        ({"type": "number", "exclusiveMinimum": 1}, 1.1, 1, "too_small"),
        ({"type": "number", "exclusiveMaximum": 1}, 0.9, 1, "too_large"),
        ({"const": 3}, 3, 4, "const"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1, [], "type"),
        ({"anyOf": [{"type": "string", "maxLength": 1}, {"type": "null"}]}, None, "xx", "too_long"),
        ({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}]}, 1, 3, "no_match"),
        ({"oneOf": [{"type": "integer", "minimum": 5}, {"type": "number", "maximum": 2}]}, 6, 3, "no_match"),
        ({"allOf": [{"type": "integer"}, {"minimum": 2}]}, 2, 1, "too_small"),
        ({"not": {"type": "integer"}}, "x", 1, "not_allowed"),
        ({"type": "integer", "if": {"minimum": 5}, "then": {"maximum": 7}}, 7, 8, "too_large"),
        ({"type": "object", "minProperties": 1}, {"x": 1}, {}, "too_few_fields"),
        ({"type": "object", "maxProperties": 1}, {"x": 1}, {"x": 1, "y": 2}, "too_many_fields"),
        ({"type": "string", "format": "uuid"}, "0190e0a0-0000-7000-8000-000000000000", "x", "format"),
    ],
)
def test_standard_constraints_hold(schema: dict[str, Any], good: Any, bad: Any, code: str) -> None:
    odd = model({"a": schema})
    assert faults(odd, {"a": good}) == []
    assert faults(odd, {"a": bad}) == [("#/a", code)]


def test_dependent_fields() -> None:
    odd = model({"a": {"type": "string"}, "b": {"type": "string"}}, dependentRequired={"a": ["b"]})
    assert faults(odd, {"a": "", "b": ""}) == []
    assert faults(odd, {"a": ""}) == [("#/b", "required")]


def test_local_references_are_put_in_place() -> None:
    odd = model(
        {"a": {"$ref": "#/$defs/A~1B", "description": "mine"}, "b": {"$ref": "#/$defs/A~1B"}},
        **{
            "$defs": {
                "A/B": {"type": "object", "properties": {"u": {"type": "string", "format": "image_uri"}}}
            }
        },
    )
    assert [media.pointer for media in odd.compiled.media] == ["/a/u", "/b/u"]
    assert faults(odd, {"a": {"u": IMAGE, "x": 1}}) == [("#/a/x", "unknown_field")]
    assert "$ref" not in str(odd.compiled.published)
    assert odd.compiled.published["properties"]["a"]["description"] == "mine"


def test_fields_of_branches_are_known_and_others_are_refused() -> None:
    odd = model(
        {"a": {"type": "string"}},
        anyOf=[{"properties": {"b": {"type": "integer"}}, "required": ["b"]}, {"required": ["a"]}],
    )
    assert faults(odd, {"a": "x"}) == faults(odd, {"b": 1}) == []
    assert faults(odd, {"a": "x", "q": 1}) == [("#/q", "unknown_field")]
    assert faults(odd, {}) == [("#", "no_match")]


def test_a_default_that_does_not_fit_is_a_warning() -> None:
    odd = model({"a": {"type": "integer", "enum": [1], "default": "x"}})
    assert "not a value that its own schema accepts" in reasons(odd)["/input_schema/properties/a/default"]


def test_a_media_default_is_no_value_and_no_warning() -> None:
    odd = model({"m": {"type": "array", "format": "image_uris", "maxItems": 1, "default": ["demo", "demo"]}})
    assert odd.warnings == ()
    assert "default" not in str(odd.compiled.schema)


def test_the_published_schema_is_standard_and_keeps_the_texts() -> None:
    rule = {"validation_rule": "file_size_mb<", "validation_value": 1}
    published = standard_json_schema(
        {
            "title": "Input",
            "type": "object",
            "required": ["f", "ghost"],
            "properties": {
                "f": {"title": "F", "type": "float", "default": 1, "description": "d"},
                "m": {"type": "array", "format": "image_uris", "validations": [rule]},
            },
        }
    )
    assert published == {
        "title": "Input",
        "type": "object",
        "required": ["f"],
        "properties": {
            "f": {"title": "F", "type": "number", "default": 1, "description": "d"},
            "m": {
                "type": "array",
                "format": "image_uris",
                "x-validations": [rule],
                "items": {"type": "string", "format": "image_uri"},
            },
        },
        "additionalProperties": False,
    }
    jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **published})


def test_references_that_multiply_are_refused_in_time() -> None:
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(1, 30):
        ref = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = {"type": "object", "properties": {"a": ref, "b": ref}}
    with pytest.raises(SchemaError, match="too large or too deep"):
        compile_schema({"type": "object", "$defs": definitions, "properties": {"x": {"$ref": "#/$defs/d29"}}})
