"""Models of the catalogue, in RunComfy's shape with additions of the gateway."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, NotRequired, TypedDict, cast

from app.catalog import model as catalog
from app.catalog.media.judge import is_enforced
from app.catalog.media.rules import MediaKind, MediaRule
from app.documents.schema import keywords
from app.quotas.amounts import MICROCREDITS

_UNSEEN: Final = "not checked: of such a file the gateway can check only the size"
_PAGES: Final = "https://www.runcomfy.com/models"
_NEVER: Final = "not checked: the gateway does not know this rule"

Template = Annotated[str, keywords("A JSON Pointer, in which `*` stands for every element.")]


class ModelWarning(TypedDict):
    """Something odd in a model's file that does not keep it from being served."""

    pointer: str
    reason: str


class MediaRuleNote(TypedDict):
    """One of the vendor's rules on the files of an input."""

    pointer: Template
    kind: str
    rule: Annotated[str, keywords("The rule as RunComfy writes it.")]
    value: float
    message: str
    enforced: bool
    note: Annotated[str | None, keywords("Why the rule is not enforced.")]


class MediaInputNote(TypedDict):
    """One place of an input that holds a file."""

    pointer: Template
    kind: str
    types: Annotated[list[str], keywords("The accepted media types; empty: all of this kind.")]


class _VendorModel(TypedDict):
    """A model as RunComfy describes it, without its schemas."""

    model_id: str
    display_name: str
    kind: Annotated[str, keywords("How RunComfy runs it.", enum=list(catalog.KINDS))]
    categories: Annotated[list[str], keywords("What it makes of what, such as `image-to-video`.")]
    base_price_usd: Annotated[
        float, keywords("The price that lists show. A quote has the price of an input.")
    ]
    price_unit: Annotated[str, keywords("What `base_price_usd` buys, such as `second` or `output`.")]
    model_url: Annotated[str, keywords("RunComfy's page of the model.", format="uri")]
    inputs: Annotated[list[str], keywords("The names of all inputs.")]
    required_inputs: list[str]


class _Schemas(TypedDict):
    input_schema: Annotated[dict[str, Any], keywords("RunComfy's own schema, verbatim.")]
    output_schema: dict[str, Any] | None


class _OptionalSchemas(TypedDict):
    input_schema: NotRequired[
        Annotated[
            dict[str, Any], keywords("RunComfy's own schema, verbatim, where `include_schema` asks for it.")
        ]
    ]
    output_schema: NotRequired[dict[str, Any] | None]


class _Additions(TypedDict):
    pricing: Annotated[dict[str, Any], keywords("The operator's price list, in micro-credits.")]
    output_seconds: NotRequired[
        Annotated[
            int | dict[str, Any],
            keywords(
                "How many seconds of output an input orders. Absent: the model does not declare them, and"
                " limits on seconds of output refuse its requests."
            ),
        ]
    ]
    warnings: list[ModelWarning]
    media_rules: list[MediaRuleNote]
    media_inputs: list[MediaInputNote]


class Model(_VendorModel, _Schemas, _Additions):
    """One model of the catalogue. Whatever else its file has is in the document too."""


class ListedModel(_VendorModel, _OptionalSchemas, _Additions):
    """One model in a list: the same, without its schemas unless they are asked for."""


def model(one: catalog.Model) -> Model:
    """Returns a model's description: RunComfy's fields, other fields of its file, then the gateway's."""
    schemas: _Schemas = {
        "input_schema": one.file["input_schema"],
        "output_schema": one.file.get("output_schema"),
    }
    return cast("Model", _described(one, schemas))


def listed_model(one: catalog.Model) -> ListedModel:
    """Returns a model's description without its schemas."""
    return cast("ListedModel", _described(one, {}))


def _described(one: catalog.Model, schemas: _Schemas | _OptionalSchemas) -> dict[str, Any]:
    file = one.file
    # The file's base price and unit are taken together: RunComfy's clients need both to read the price.
    base = file.get("base_price_usd")
    properties = one.compiled.published.get("properties", {})
    vendors: _VendorModel = {
        "model_id": one.model_id,
        "display_name": one.display_name,
        "kind": one.kind,
        "categories": list(one.categories),
        "base_price_usd": one.pricing.lowest / MICROCREDITS if base is None else base,
        "price_unit": one.price_unit,
        "model_url": file.get("model_url") or f"{_PAGES}/{one.model_id}",
        "inputs": list(properties),
        "required_inputs": list(one.compiled.published.get("required", ())),
    }
    ours: _Additions = {
        "pricing": file["pricing"],
        "media_rules": [
            {
                "pointer": media.pointer,
                "kind": media.kind,
                "rule": rule.rule,
                "value": rule.value,
                "message": rule.message,
                "enforced": is_enforced(rule, media.kind),
                "note": _note(rule, media.kind),
            }
            for media in one.compiled.media
            for rule in media.rules
        ],
        "media_inputs": [
            {"pointer": media.pointer, "kind": media.kind, "types": sorted(media.types)}
            for media in one.compiled.media
        ],
        "warnings": [{"pointer": warning.pointer, "reason": warning.reason} for warning in one.warnings],
    }
    others = {
        name: value for name, value in file.items() if name not in {*vendors, *_Schemas.__annotations__}
    }
    return {**vendors, **schemas, **others, **ours}


def _note(rule: MediaRule, kind: MediaKind) -> str | None:
    if not rule.understood:
        return _NEVER
    return None if is_enforced(rule, kind) else _UNSEEN


class ModelPage(TypedDict):
    """A page of models, sorted by model id."""

    models: list[ListedModel]
    total: Annotated[int, keywords("How many models match, on all pages.")]
    limit: int
    offset: int


def model_page(found: Sequence[catalog.Model], *, limit: int, offset: int, with_schemas: bool) -> ModelPage:
    """Returns a page of at most `limit` of these models, after the first `offset`."""
    page = found[offset : offset + limit]
    return {
        "models": [cast("ListedModel", model(one)) if with_schemas else listed_model(one) for one in page],
        "total": len(found),
        "limit": limit,
        "offset": offset,
    }


class ModelCategories(TypedDict):
    """The categories of the models that a caller may use, sorted."""

    categories: list[str]


def model_categories(found: Sequence[catalog.Model]) -> ModelCategories:
    """Returns every category that one of these models has, once."""
    return {"categories": sorted({category for one in found for category in one.categories})}
