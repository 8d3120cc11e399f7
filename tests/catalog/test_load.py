"""Files that cannot be understood are refused, all at once, each with its place and reason."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from app.catalog.catalog import MAX_FILE_BYTES, SHIPPED, CatalogError, load_catalog
from app.documents.generations.models import model as public

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
FREE: dict[str, Any] = {"version": "1", "free": True}
GOOD: dict[str, Any] = {"model_id": "a/b", "input_schema": SCHEMA, "pricing": FREE}
SEED = "bytedance/dreamina-3-0/image-to-video"


def write(folder: Path, name: str, document: Any = None, content: bytes | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(document).encode() if content is None else content)
    return path


def problems(*folders: Path) -> list[tuple[str, str, str]]:
    with pytest.raises(CatalogError) as refused:
        load_catalog(*folders)
    return [(problem.file, problem.pointer, problem.reason) for problem in refused.value.problems]


def top(**more: Any) -> bytes:
    return json.dumps({**GOOD, **more}).encode()


def prop(**schema: Any) -> bytes:
    return top(input_schema={"type": "object", "properties": {"a": schema}})


def with_root(**more: Any) -> bytes:
    return top(input_schema={**SCHEMA, **more})


def rule(**parts: Any) -> bytes:
    return prop(type="string", format="image_uri", validations=[parts])


A = "/input_schema/properties/a"
REFUSED: list[tuple[bytes, str, str]] = [
    # not a document
    (b"", "", "is not JSON"),
    (b"{", "", "is not JSON"),
    (b"\xff\xfe{}", "", "is not UTF-8"),
    (b'{"a": "\xff"}', "", "is not UTF-8"),
    (b"[" * 100_000, "", "nested too deeply"),
    (b'{"x": %s%s}' % (b"[" * 70, b"]" * 70), "/x" + "/0" * 64, "nested deeper than 64"),
    (b'{"x": 1%s}' % (b"0" * 5000), "", "is not JSON"),
    (b" " * (MAX_FILE_BYTES + 1), "", "is larger than 1,048,576 bytes"),
    (b"[]", "", "must be an object"),
    (b'"x"', "", "must be an object"),
    (b'{"model_id": "a/b", "model_id": "a/c", "input_schema": {}}', "/model_id", "is given twice"),
    (b'{"input_schema": {"a~/b": {"x": 1, "x": 1}}}', "/input_schema/a~0~1b/x", "is given twice"),
    (b'{"x": [NaN]}', "/x/0", "not a finite number"),
    (b'{"x": -Infinity}', "/x", "not a finite number"),
    (b'{"x": 1e999}', "/x", "not a finite number"),
    (b'{"x": "\\ud800"}', "/x", "lone surrogate"),
    # the model
    (b'{"model_id": "a/b"}', "", "has no input_schema"),
    (top(model_id="alone"), "/model_id", "2 to 5 segments"),
    (top(model_id="a/b/c/d/e/f"), "/model_id", "2 to 5 segments"),
    (top(model_id="a/../b"), "/model_id", "2 to 5 segments"),
    (top(model_id="/a/b"), "/model_id", "2 to 5 segments"),
    (top(model_id="a/b\n"), "/model_id", "2 to 5 segments"),
    (top(model_id="a/b c"), "/model_id", "2 to 5 segments"),
    (top(model_id=7), "/model_id", "2 to 5 segments"),
    (top(model_id=None), "/model_id", "2 to 5 segments"),
    (json.dumps({"input_schema": SCHEMA, "pricing": FREE}).encode(), "", "has no model_id"),
    (top(display_name=1), "/display_name", "must be a string"),
    (top(kind=[]), "/kind", "must be model, workflow or inference"),
    (top(kind="image-to-video"), "/kind", '"categories": ["image-to-video"]'),
    (top(categories="image-to-video"), "/categories", "must be a list of names"),
    (top(categories=["image-to-video", ""]), "/categories", "must be a list of names"),
    (top(model_url=1), "/model_url", "must be a string"),
    (top(base_price_usd="1", price_unit="second"), "/base_price_usd", "must be a number"),
    (top(base_price_usd=1), "/base_price_usd", "needs price_unit beside it"),
    (top(price_unit="second"), "/price_unit", "needs base_price_usd beside it"),
    (top(output_schema=[]), "/output_schema", "must be an object"),
    (json.dumps({"model_id": "a/b", "input_schema": SCHEMA}).encode(), "", "has no pricing"),
    (b'{"model_id": "a/b"}', "", "has no pricing"),
    (top(pricing=None), "", "has no pricing"),
    (top(pricing={"version": "1"}), "/pricing", "exactly one of"),
    # the schema
    (top(input_schema=[]), "/input_schema", "must be a schema"),
    (top(input_schema={"type": "array"}), "/input_schema/type", "a request body is one"),
    (with_root(properties=[]), "/input_schema/properties", "must be an object"),
    (with_root(properties={"a": 1}), A, "must be a schema"),
    (with_root(required="a"), "/input_schema/required", "list of property names"),
    (with_root(required=[1]), "/input_schema/required", "list of property names"),
    (with_root(additionalProperties=1), "/input_schema/additionalProperties", "must be a schema"),
    (prop(type="text"), f"{A}/type", "not a known type"),
    (prop(type=[]), f"{A}/type", "not a known type"),
    (prop(type=["string", 1]), f"{A}/type", "not a known type"),
    (prop(type={}), f"{A}/type", "not a known type"),
    (prop(type="string", required=True), f"{A}/required", "list of property names"),
    (prop(type="array", minItems="one"), f"{A}/minItems", "integer of at least 0"),
    (prop(type="array", maxItems=-1), f"{A}/maxItems", "integer of at least 0"),
    (prop(type="array", maxItems=True), f"{A}/maxItems", "integer of at least 0"),
    (prop(type="string", maxLength=1.5), f"{A}/maxLength", "integer of at least 0"),
    (prop(type="array", items=[{}]), f"{A}/items", "must be a schema"),
    (prop(type="array", uniqueItems="yes"), f"{A}/uniqueItems", "true or false"),
    (prop(type="number", minimum="1"), f"{A}/minimum", "must be a number"),
    (prop(type="number", exclusiveMinimum=True), f"{A}/exclusiveMinimum", "must be a number"),
    (prop(type="number", multipleOf=0), f"{A}/multipleOf", "greater than 0"),
    (prop(type="string", enum="x"), f"{A}/enum", "at least one value"),
    (prop(type="string", enum=[]), f"{A}/enum", "at least one value"),
    (prop(type="string", format=1), f"{A}/format", "must be a string"),
    (prop(type="string", pattern="("), f"{A}/pattern", "not a regular expression"),
    (prop(type="string", pattern=1), f"{A}/pattern", "must be a string"),
    (prop(type="object", dependentRequired={"a": "b"}), f"{A}/dependentRequired", "lists of property names"),
    (prop(anyOf={}), f"{A}/anyOf", "at least one schema"),
    (prop(anyOf=[]), f"{A}/anyOf", "at least one schema"),
    (prop(oneOf=[1]), f"{A}/oneOf/0", "must be a schema"),
    (prop(**{"not": 1}), f"{A}/not", "must be a schema"),
    (prop(**{"$ref": "http://x/y"}), f"{A}/$ref", "a schema of this file"),
    (prop(**{"$ref": "#/$defs/none"}), f"{A}/$ref", "a schema of this file"),
    (prop(**{"$ref": 1}), f"{A}/$ref", "a schema of this file"),
    (prop(**{"$ref": "#/properties/a"}), f"{A}/$ref", "recursive"),
    (prop(**{"$ref": "#/type", "minLength": 1}), f"{A}/$ref", "beside other constraints"),
    (prop(**{"$dynamicRef": "#x"}), f"{A}/$dynamicRef", "does not understand"),
    (prop(type="object", patternProperties={}), f"{A}/patternProperties", "does not understand"),
    (prop(type="array", prefixItems=[]), f"{A}/prefixItems", "does not understand"),
    (prop(type="array", contains={}), f"{A}/contains", "does not understand"),
    # contradictions
    (prop(type="array", minItems=2, maxItems=1), f"{A}/minItems", "contradicts maxItems"),
    (prop(type="string", minLength=2, maxLength=1), f"{A}/minLength", "contradicts maxLength"),
    (prop(type="number", minimum=2, maximum=1), f"{A}/minimum", "contradicts maximum"),
    (prop(type="number", exclusiveMinimum=1, maximum=1), f"{A}/exclusiveMinimum", "contradicts maximum"),
    # media rules
    (prop(type="string", validations={}), f"{A}/validations", "must be a list"),
    (prop(type="string", validations=["x<"]), f"{A}/validations/0", "must be an object"),
    (rule(validation_value=1), f"{A}/validations/0/validation_rule", "a metric and an operator"),
    (rule(validation_rule="width", validation_value=1), f"{A}/validations/0/validation_rule", "a metric and"),
    (rule(validation_rule="<=", validation_value=1), f"{A}/validations/0/validation_rule", "a metric and"),
    (rule(validation_rule=5, validation_value=1), f"{A}/validations/0/validation_rule", "a metric and"),
    (rule(validation_rule="width_pixels<"), f"{A}/validations/0/validation_value", "finite number"),
    (
        rule(validation_rule="width_pixels<", validation_value="4"),
        f"{A}/validations/0/validation_value",
        "finite",
    ),
    (
        rule(validation_rule="width_pixels<", validation_value=True),
        f"{A}/validations/0/validation_value",
        "finite",
    ),
    (
        rule(validation_rule="width_pixels< 3", validation_value=4),
        f"{A}/validations/0/validation_rule",
        "its own",
    ),
    (
        rule(validation_rule="width_pixels<", validation_value=4, validation_error=1),
        f"{A}/validations/0/validation_error",
        "must be a string",
    ),
]


@pytest.mark.parametrize(("content", "pointer", "reason"), REFUSED)
def test_a_malformed_file_is_refused_with_place_and_reason(
    tmp_path: Path, content: bytes, pointer: str, reason: str
) -> None:
    file = write(tmp_path, "model.json", content=content)
    found = problems(tmp_path)
    assert {name for name, _, _ in found} == {str(file)}
    assert any(at == pointer and reason in why for _, at, why in found), found
    assert all(len(why) < 400 for _, _, why in found)


def test_every_problem_of_every_file_is_reported_at_once(tmp_path: Path) -> None:
    one = write(tmp_path, "one.json", content=prop(type="text", minItems="x", enum=[]))
    two = write(tmp_path, "two.json", content=b"{")
    found = problems(tmp_path, tmp_path / "none")
    assert [(name, at) for name, at, _ in found] == [
        (str(tmp_path / "none"), ""),
        (str(one), f"{A}/enum"),
        (str(one), f"{A}/minItems"),
        (str(one), f"{A}/type"),
        (str(two), ""),
    ]


def test_the_error_reads_as_one_line_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path, "one.json", content=prop(type="text", enum=[]))
    with pytest.raises(CatalogError) as refused:
        load_catalog(tmp_path)
    assert str(refused.value).splitlines()[0].startswith(f"{file} at {A}/enum: must be a list")
    assert len(str(refused.value).splitlines()) == 2


def test_a_file_without_model_id_is_named_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, "v.end-or/Big_1.0/4K.json", {"input_schema": SCHEMA, "pricing": FREE})
    assert list(load_catalog(tmp_path).models) == ["v.end-or/Big_1.0/4K"]


def test_the_files_own_model_id_wins_over_its_path_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "x/y.json", GOOD)
    model = load_catalog(tmp_path).models["a/b"]
    assert [(warning.pointer, "x/y" in warning.reason) for warning in model.warnings] == [("/model_id", True)]
    assert public(model)["warnings"][0]["pointer"] == "/model_id"


def test_a_flat_file_needs_no_matching_path(tmp_path: Path) -> None:
    write(tmp_path, "anything.json", GOOD)
    assert load_catalog(tmp_path).models["a/b"].warnings == ()


def test_two_files_of_one_model_are_refused_by_both_names(tmp_path: Path) -> None:
    first, second = write(tmp_path, "1.json", GOOD), write(tmp_path, "2.json", GOOD)
    assert problems(tmp_path) == [(str(second), "/model_id", f"names the model a/b, as {first} does")]


def test_ids_differ_by_case(tmp_path: Path) -> None:
    write(tmp_path, "1.json", GOOD)
    write(tmp_path, "2.json", {**GOOD, "model_id": "A/b"})
    catalog = load_catalog(tmp_path)
    assert list(catalog.models) == ["A/b", "a/b"]
    assert catalog.models.get("A/B") is None


def test_the_operators_model_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, f"{SEED}.json", {**GOOD, "model_id": SEED, "display_name": "Mine"})
    shipped, both = load_catalog(SHIPPED), load_catalog(SHIPPED, tmp_path)
    assert shipped.models[SEED].display_name == "Dreamina 3.0"
    assert both.models[SEED].display_name == "Mine"
    assert both.models.keys() == shipped.models.keys()


def test_unknown_top_level_keys_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "1.json", {**GOOD, "tags": ["x"], "pricing_note": "from"})
    document = dict(public(load_catalog(tmp_path).models["a/b"]))
    assert (document["tags"], document["pricing_note"]) == (["x"], "from")


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    write(tmp_path, "1.json", content=b"\xef\xbb\xbf" + top())
    assert list(load_catalog(tmp_path).models) == ["a/b"]


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in (".hidden.json", ".git/x.json", "read.me", "x.json.bak"):
        write(tmp_path, name, content=b"{")
    assert load_catalog(tmp_path).models == {}


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    target = write(tmp_path / "..data", "real.json", GOOD)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "b.json").symlink_to(target)
    (folder / "circle").symlink_to(folder)
    assert list(load_catalog(folder).models) == ["a/b"]


def test_what_cannot_be_read_is_a_problem_and_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.json")
    assert [(Path(name).name, why) for name, _, why in problems(tmp_path)] == [
        ("gone.json", "is not a file that can be read"),
        ("pipe.json", "is not a file that can be read"),
    ]


def test_the_catalogue_cannot_be_changed(tmp_path: Path) -> None:
    models: Any = load_catalog(tmp_path).models
    with pytest.raises(TypeError):
        models["a/b"] = None
