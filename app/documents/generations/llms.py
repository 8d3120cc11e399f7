"""The catalogue as texts for language models: `llms.txt`, and a text for each model.

They need no key, and tell no more than the contract does: what a request costs is told to whoever has one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from app.catalog.model import Model
from app.documents.generations.models import model as document_of

_MAX_TEXT: Final = 300
_BOUNDS: Final = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "characters at least",
    "maxLength": "characters at most",
    "minItems": "items at least",
    "maxItems": "items at most",
}
_PICTURE: Final = "https://example.com/picture.jpg"
_HOW: Final = """\
## How to make something

1. Every call has the header `Authorization: Bearer KEY`. The person whom you help has the key: never show it,
   and never put it into an address or a page.
2. `POST {base}/v1/quotes/MODEL_ID` with the input as its JSON body tells the price,
   and everything that is wrong with the input. It costs nothing.
3. `POST {base}/v1/models/MODEL_ID` with the same body submits one paid request.
   Send a new UUID as the header `Idempotency-Key`, and the same one if you have to repeat the call: it stays
   one request. The answer has a `request_id`.
4. `GET {base}/v1/requests/REQUEST_ID/status?wait=25` until `status` is `completed` or `cancelled`.
5. `GET {base}/v1/requests/REQUEST_ID/result`: `output` has the addresses of the
   files when `status` is `succeeded`, and `error` says why when it is `failed`.

A refusal is a JSON document whose `remedy` says what to do. Repeat a call only where `retryable` is true,
after `Retry-After` seconds. After the code `outcome_unknown` do not submit again: ask for the request that
`request_id` names.
"""


def index(models: Iterable[Model], base_url: str) -> str:
    """Returns `llms.txt`: what the gateway is, how to use it, and where the text of each model is."""
    lines = [
        "# Reelgate",
        "",
        "> A gateway to models that make videos, images and sound. A request costs money, once.",
        "",
        *_HOW.format(base=base_url).splitlines(),
        "",
        "## Models",
        "",
        *(
            f"- [{_flat(one.display_name)}]({base_url}/llms/{one.model_id}): {_about(one)}"
            for one in sorted(models, key=lambda one: one.model_id)
        ),
        "",
        "## Reference",
        "",
        f"- [OpenAPI document]({base_url}/openapi.json): every route, with the input schema of each model",
        f"- [Errors]({base_url}/problems): every code, and what to do about it",
    ]
    return "\n".join(lines) + "\n"


def of_model(model: Model, base_url: str) -> str:
    """Returns the text of one model: its inputs, its rules for files, and a call to copy."""
    document = document_of(model)
    properties: Mapping[str, Any] = model.file["input_schema"].get("properties") or {}
    required = set(document["required_inputs"])
    inputs = [_input(name, one, is_required=name in required) for name, one in properties.items()]
    rules = [
        f"- {one['pointer']}: {_flat(one['message'])}" for one in document["media_rules"] if one["enforced"]
    ]
    example = {name: _example(one) for name, one in properties.items() if name in required}
    files = ["## Files", "", *dict.fromkeys(rules), ""] if rules else []
    lines = [
        f"# {_flat(model.display_name)}",
        "",
        f"> {_about(model)}",
        "",
        f"Model id: `{model.model_id}`",
        "",
        "## Inputs",
        "",
        *inputs,
        "",
        *files,
        "## Price",
        "",
        f"`POST {base_url}/v1/quotes/{model.model_id}` tells what an input costs,",
        f"and `GET {base_url}/v1/models/{model.model_id}` has the whole price list. Both need the key.",
        "",
        "## Call",
        "",
        "```sh",
        f"curl {base_url}/v1/models/{model.model_id} \\",
        '  -H "Authorization: Bearer $REELGATE_KEY" -H "Content-Type: application/json" \\',
        '  -H "Idempotency-Key: $(uuidgen)" \\',
        f"  -d '{_quoted(example)}'",
        "```",
        "",
        f"How to follow the request, and all other models: {base_url}/llms.txt",
    ]
    return "\n".join(lines) + "\n"


def _about(model: Model) -> str:
    makes = ", ".join(model.categories) or model.kind
    said = _flat(model.file.get("description") or "")
    return makes + (f". {said}" if said else "")


def _input(name: str, schema: Mapping[str, Any], *, is_required: bool) -> str:
    terms = ", ".join(_terms(schema, is_required=is_required))
    said = _flat(schema.get("description") or schema.get("title") or "")
    return f"- `{name}` ({terms})" + (f": {said}" if said else "")


def _terms(schema: Mapping[str, Any], *, is_required: bool) -> Iterator[str]:
    items = schema.get("items") or {}
    of = items.get("format") or items.get("type")
    yield str(schema.get("type", "any")) + (f" of {of}" if of else "")
    yield "required" if is_required else "optional"
    if "format" in schema:
        yield _flat(schema["format"])
    if isinstance(schema.get("enum"), list):
        yield f"one of {json.dumps(schema['enum'], ensure_ascii=False)}"
    for keyword, words in _BOUNDS.items():
        if keyword in schema:
            yield f"{words} {schema[keyword]}"
    if "default" in schema and not _is_file(schema):  # a demo file is nobody's default
        yield f"default {json.dumps(schema['default'], ensure_ascii=False)}"


def _is_file(schema: Mapping[str, Any]) -> bool:
    return "_uri" in f"{schema.get('format', '')} {(schema.get('items') or {}).get('format', '')}"


def _example(schema: Mapping[str, Any]) -> Any:
    is_list = schema.get("type") == "array"
    if _is_file(schema):
        return [_PICTURE] if is_list else _PICTURE
    if schema.get("enum"):
        return schema["enum"][0]
    if is_list:
        return []
    return schema.get("default", "…" if schema.get("type") == "string" else schema.get("minimum", 1))


def _quoted(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False).replace("'", "'\\''")


def _flat(text: Any) -> str:
    """A text of a model's file on one line: it cannot begin a heading or a list of its own."""
    line = " ".join(str(text).split())
    return line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…"
