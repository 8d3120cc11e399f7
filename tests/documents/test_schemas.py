"""The contract's schemas say what the types of the documents say, and refuse what they cannot say."""

import re
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_type_hints

import pytest

from app.api.v1.client_tokens import _TermsBody
from app.documents.access.client_tokens import ClientTokenTerms
from app.documents.fields import Violation
from app.documents.generations.requests import Cancelled, Result, Status, Submitted
from app.documents.problems import Problem
from app.documents.published import SCHEMAS
from app.documents.schema import CLOSED, components, keywords, schema_of

CLIENT_TYPES = Path(__file__).parents[2] / "app" / "console" / "static" / "client.d.ts"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Number(IntEnum):
    ONE = 1


class Inner(TypedDict):
    count: int


class Outer(Inner):
    name: Annotated[str, keywords("A name.", pattern="^a")]
    inner: Inner | None
    many: NotRequired[list[Inner]]
    last: NotRequired[Annotated[float, keywords("The last.")]]


class Loose(TypedDict, total=False):
    seed: int


Odd = TypedDict("Odd", {"violated-policies": list[str]})


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (dict[str, Any], {"type": "object", "additionalProperties": True}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (
            dict[str, Any] | None,
            {"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "null"}]},
        ),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Literal["b", "a"], {"type": "string", "enum": ["b", "a"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (int | None, {"type": ["integer", "null"]}),
        (list[str] | None, {"type": ["array", "null"], "items": {"type": "string"}}),
        (Colour | None, {"type": ["string", "null"], "enum": ["red", "blue", None]}),
        (Literal["a"] | None, {"type": ["string", "null"], "enum": ["a", None]}),
        (
            Annotated[int, keywords("Some.", minimum=1)],
            {"type": "integer", "minimum": 1, "description": "Some."},
        ),
        (Annotated[int, "no keywords"], {"type": "integer"}),
        (
            Annotated[Annotated[str, keywords("A moment.", format="date-time")] | None, keywords("When.")],
            {"type": ["string", "null"], "format": "date-time", "description": "When."},
        ),
        (Loose, {"type": "object", "properties": {"seed": {"type": "integer"}}}),
        (
            Odd,
            {
                "type": "object",
                "required": ["violated-policies"],
                "properties": {"violated-policies": {"type": "array", "items": {"type": "string"}}},
            },
        ),
    ],
)
def test_a_type_has_its_schema(form: Any, schema: dict[str, Any]) -> None:
    assert schema_of(form) == schema


def test_keywords_stand_in_the_order_in_which_they_are_given_and_the_description_last() -> None:
    form = Annotated[list[str], keywords("Names.", minItems=1, maxItems=2), keywords(uniqueItems=True)]
    assert list(schema_of(form)) == ["type", "items", "minItems", "maxItems", "description", "uniqueItems"]


def test_a_shape_lists_the_fields_of_those_that_it_extends_first_and_requires_what_is_always_there() -> None:
    inner = {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}}
    schema = schema_of(Outer)
    assert list(schema) == ["type", "required", "properties"]
    assert schema["required"] == ["count", "name", "inner"]
    assert list(schema["properties"]) == ["count", "name", "inner", "many", "last"]
    assert schema["properties"]["name"] == {"type": "string", "pattern": "^a", "description": "A name."}
    assert schema["properties"]["inner"] == {"anyOf": [inner, {"type": "null"}]}
    assert schema["properties"]["many"] == {"type": "array", "items": inner}
    assert schema["properties"]["last"] == {"type": "number", "description": "The last."}


def test_a_shape_with_a_name_is_referred_to_wherever_it_stands() -> None:
    made = components([Annotated[Inner, keywords("Inside.")], Outer, Colour])
    assert list(made) == ["Inner", "Outer", "Colour"]
    reference = {"$ref": "#/components/schemas/Inner"}
    assert made["Inner"]["description"] == "Inside."
    assert made["Outer"]["properties"]["inner"] == {"anyOf": [reference, {"type": "null"}]}
    assert made["Outer"]["properties"]["many"] == {"type": "array", "items": reference}
    assert schema_of(Annotated[Colour, keywords("Which.")], [Colour]) == {
        "$ref": "#/components/schemas/Colour",
        "description": "Which.",
    }


def test_a_union_is_any_of_its_types() -> None:
    assert schema_of(int | str | None) == {
        "anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]
    }


def test_a_closed_shape_has_no_other_members() -> None:
    assert components([Annotated[Loose, CLOSED]]) == {
        "Loose": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"seed": {"type": "integer"}},
        }
    }


@pytest.mark.parametrize(
    "form",
    [
        bytes,
        object,
        tuple[int, int],
        set[str],
        dict[int, str],
        int | bytes,
        Literal[1],
        Number,
    ],
)
def test_a_type_that_cannot_be_published_is_refused(form: Any) -> None:
    with pytest.raises(TypeError, match="no JSON schema"):
        schema_of(form)
    with pytest.raises(TypeError, match="no JSON schema"):
        components([TypedDict("Holder", {"field": form})])  # type: ignore[operator]


def test_the_published_terms_of_a_client_token_are_those_that_a_mint_reads() -> None:
    assert set(get_type_hints(ClientTokenTerms)) == set(_TermsBody.model_fields)


# --- the types of /client.js

ON_DEMAND = {"cost"}
"""Members that are only answered to a query which the module never sends."""


def interface(name: str) -> dict[str, bool]:
    """The members of one of the module's interfaces, and whether each is always there."""
    text = CLIENT_TYPES.read_text("utf-8")
    found = re.search(rf"^export interface {name}(?:<.*>)? {{\n(.*?)^}}", text, re.DOTALL | re.MULTILINE)
    assert found is not None, name
    return {
        member: not optional for member, optional in re.findall(r"^  ([a-z_]+)(\??):", found[1], re.MULTILINE)
    }


def alias(name: str) -> list[str]:
    """The texts in one of the module's unions."""
    text = CLIENT_TYPES.read_text("utf-8")
    found = re.search(rf"^export type {name} =(.*?;)(?: //.*)?$", text, re.DOTALL | re.MULTILINE)
    assert found is not None, name
    return re.findall(r'"([a-z_]+)"', re.sub(r"//.*", "", found[1]))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Submitted", Submitted),
        ("Status", Status),
        ("Result", Result),
        ("Cancelled", Cancelled),
        ("FieldError", Violation),
    ],
)
def test_the_client_modules_types_have_the_members_of_the_documents(name: str, shape: Any) -> None:
    fields = {field: field in shape.__required_keys__ for field in get_type_hints(shape)}
    assert interface(name) == {field: always for field, always in fields.items() if field not in ON_DEMAND}


def test_the_client_modules_problem_names_no_member_that_is_none_of_the_documents() -> None:
    assert set(interface("Problem")) <= set(get_type_hints(Problem))


def test_the_client_module_knows_every_state_and_status() -> None:
    assert sorted(alias("State")) == sorted(SCHEMAS["State"]["enum"])
    assert sorted(alias("StatusWord")) == SCHEMAS["Status"]["properties"]["status"]["enum"]
