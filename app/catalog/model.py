"""One model of the catalogue, compiled from its document. Pure: the caller supplies the document."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.catalog.findings import Finding, pointer, shown
from app.catalog.output_seconds import OutputSeconds, OutputSecondsError, compile_output_seconds
from app.catalog.pricing import Pricing, PricingError, compile_pricing
from app.catalog.schema import CompiledSchema, SchemaError, compile_schema

_MODEL_ID: Final = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){1,4}")
_MAX_MODEL_ID: Final = 200
_TEXTS: Final = ("display_name", "description", "price_unit", "model_url")
KINDS: Final = ("model", "workflow", "inference")
"""How RunComfy runs a model. What a model does is a category, such as `image-to-video`."""
_CATEGORY: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*-to-[a-z0-9]+(?:-[a-z0-9]+)*")
_NO_PRICING: Final = (
    'has no pricing: add "pricing" with a price list, or "pricing": {"version": "1", "free": true}'
    " if the model is free"
)


class ModelError(ValueError):
    """The document does not describe a model; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{problem.pointer or '/'}: {problem.reason}" for problem in problems))
        self.problems = problems


class NoPriceError(LookupError):
    """There is no price for this body; it can only be one that violates the model's schema."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that requests can name.

    `file` is the JSON object that it was compiled from; treat it as read-only. `documents.generations.models`
    makes the public description of it.
    """

    model_id: str
    display_name: str
    kind: str
    categories: tuple[str, ...]
    file: Mapping[str, Any]
    compiled: CompiledSchema
    pricing: Pricing
    warnings: tuple[Finding, ...]
    output_seconds: OutputSeconds | None = None

    @property
    def price_unit(self) -> str:
        """What the base price buys, such as a `second`; a whole `output` where the file does not say."""
        return self.file.get("price_unit") or "output"

    @property
    def hidden_from(self) -> tuple[str, ...]:
        """Why RunComfy's own clients would hide or refuse the model: what its entry lacks, each as a text."""
        makes = {category.rpartition("-")[2] for category in self.categories}
        lacks = []
        if not self.categories:
            lacks.append("no categories")
        if makes & {"video", "audio"} and self.price_unit != "second":
            lacks.append("no base_price_usd per second")
        return tuple(lacks)

    def matches(self, text: str) -> bool:
        """Returns whether the id, the name or the description has this text, upper and lower case alike."""
        wanted = text.casefold()
        texts = (self.model_id, self.display_name, self.file.get("description") or "")
        return any(wanted in text.casefold() for text in texts)

    def price(self, body: Mapping[str, Any]) -> int:
        """Returns the price of a valid body in micro-credits.

        An input that the body leaves out counts as its schema's default; the body itself is not changed.

        Raises:
            NoPriceError: the schema refuses the body.

        """
        found = self.pricing.table.amount(body)
        if found is None:
            raise NoPriceError(f"no row for {', '.join(self.pricing.table.inputs)}")
        return found

    def seconds(self, body: Mapping[str, Any]) -> int | None:
        """How many seconds of output a valid body orders; None where the model's file does not say."""
        return None if self.output_seconds is None else self.output_seconds.amount(body)


def is_model_id(text: str) -> bool:
    """Returns whether the text is 2 to 5 segments of `[A-Za-z0-9._-]+`, none of them `.` or `..`."""
    return (
        len(text) <= _MAX_MODEL_ID
        and _MODEL_ID.fullmatch(text) is not None
        and not {".", ".."} & set(text.split("/"))
    )


def build_model(document: Any, fallback_id: str) -> Model:
    """Compiles a model's document; `fallback_id` is its id where the document has none.

    Raises:
        ModelError: the document does not describe a model.

    """
    if not isinstance(document, dict):
        raise ModelError((Finding("", f"must be an object, is {shown(document)}"),))
    problems = [
        *_id_problems(document, fallback_id),
        *_text_problems(document),
        *_kind_problems(document),
        *_base_price_problems(document),
    ]
    warnings: list[Finding] = []
    compiled, pricing = None, None
    if "input_schema" in document:
        try:
            compiled = compile_schema(document["input_schema"])
            warnings += compiled.warnings
        except SchemaError as error:
            problems += error.problems
    else:
        problems.append(Finding("", "has no input_schema"))
    if document.get("pricing") is None:
        problems.append(Finding("", _NO_PRICING))
    elif compiled is not None:
        try:
            pricing = compile_pricing(document["pricing"], compiled)
        except PricingError as error:
            problems += error.problems
    output_seconds = _output_seconds(document, compiled, problems)
    if compiled is None or pricing is None or problems:
        raise ModelError(tuple(sorted(problems)))
    model_id = document.get("model_id", fallback_id)
    if model_id != fallback_id and is_model_id(fallback_id):
        warnings.append(Finding("/model_id", f"is not what the file's path says: {shown(fallback_id)}"))
    return Model(
        model_id=model_id,
        display_name=document.get("display_name") or model_id,
        kind=document.get("kind") or KINDS[0],
        categories=_categories(document, model_id),
        file=document,
        compiled=compiled,
        pricing=pricing,
        output_seconds=output_seconds,
        warnings=tuple(sorted(warnings)),
    )


def _output_seconds(
    document: Mapping[str, Any], compiled: CompiledSchema | None, problems: list[Finding]
) -> OutputSeconds | None:
    if compiled is None or "output_seconds" not in document:
        return None
    try:
        return compile_output_seconds(document["output_seconds"], compiled)
    except OutputSecondsError as error:
        problems += error.problems
        return None


def _id_problems(document: Mapping[str, Any], fallback_id: str) -> list[Finding]:
    rule = "2 to 5 segments of letters, digits, '.', '_' and '-'"
    given = document.get("model_id", fallback_id)
    if isinstance(given, str) and is_model_id(given):
        return []
    if "model_id" in document:
        return [Finding("/model_id", f"must be {rule}, is {shown(given)}")]
    return [Finding("", f"has no model_id, and its path is not one ({rule}): {shown(given)}")]


def _text_problems(document: Mapping[str, Any]) -> list[Finding]:
    problems = [
        Finding(pointer([key]), f"must be a string, is {shown(document[key])}")
        for key in _TEXTS
        if document.get(key) is not None and not isinstance(document[key], str)
    ]
    if document.get("output_schema") is not None and not isinstance(document["output_schema"], dict):
        problems.append(
            Finding("/output_schema", f"must be an object, is {shown(document['output_schema'])}")
        )
    return problems


def _kind_problems(document: Mapping[str, Any]) -> list[Finding]:
    problems = []
    kind, categories = document.get("kind"), document.get("categories")
    if kind is not None and kind not in KINDS:
        hint = (
            f'; what a model does is a category: "categories": [{shown(kind)}]' if _is_category(kind) else ""
        )
        problems.append(
            Finding("/kind", f"must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, is {shown(kind)}{hint}")
        )
    if categories is not None and not (isinstance(categories, list) and all(map(_is_name, categories))):
        problems.append(Finding("/categories", f"must be a list of names, is {shown(categories)}"))
    return problems


def _base_price_problems(document: Mapping[str, Any]) -> list[Finding]:
    base, unit = document.get("base_price_usd"), document.get("price_unit")
    if base is not None and (isinstance(base, bool) or not isinstance(base, int | float) or base < 0):
        return [Finding("/base_price_usd", f"must be a number of at least 0, is {shown(base)}")]
    if (base is None) != (unit is None):
        missing, given = (
            ("base_price_usd", "price_unit") if base is None else ("price_unit", "base_price_usd")
        )
        return [Finding(pointer([given]), f"needs {missing} beside it: a price and its unit")]
    return []


def _categories(document: Mapping[str, Any], model_id: str) -> tuple[str, ...]:
    """Returns the file's categories; without any, the parts of the id that read like one."""
    given = document.get("categories")
    return tuple(dict.fromkeys(given if given is not None else filter(_is_category, model_id.split("/"))))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_category(value: Any) -> bool:
    return isinstance(value, str) and _CATEGORY.fullmatch(value) is not None
