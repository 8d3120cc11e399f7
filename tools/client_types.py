"""Writes the Python library's types from openapi.json: one TypedDict for each document of the contract."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "clients" / "python" / "src" / "reelgate_client" / "types.py"
_NAMES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_HEAD: Final = '''"""The documents of Reelgate's API, as plain dictionaries with known members.

Made from openapi.json by `python -m tools.client_types`; a test compares them.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict
'''


def source() -> str:
    """Returns the text of the module, formatted."""
    schemas: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))["components"][
        "schemas"
    ]
    parts = [_HEAD]
    codes = schemas["Problem"]["properties"]["code"]["enum"]
    parts.append(f"ErrorCode = Literal[{', '.join(map(repr, codes))}]\n" + '"""The code of every problem."""')
    parts += [_named(name, schema) for name, schema in sorted(schemas.items(), key=_aliases_first)]
    names = sorted(["ErrorCode", *schemas])
    parts.append(f"__all__ = {names!r}")
    return formatted("\n\n".join(parts), TARGET)


def formatted(text: str, target: Path) -> str:
    """Returns code as ruff formats it for the place where it will be."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (("check", "--select", "I", "--fix-only", "--quiet"), ("format", "--quiet")):
        whole = [ruff, *command, "--stdin-filename", target, "-"]
        text = subprocess.run(whole, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text


def _aliases_first(entry: tuple[str, Any]) -> tuple[bool, str]:
    return entry[1].get("type") == "object", entry[0]


def _named(name: str, schema: dict[str, Any]) -> str:
    text = _text(schema.get("description") or f"The document `{name}` of the contract.")
    if schema.get("type") != "object":
        return f"{name} = {_type(schema)}\n{text}"
    members: dict[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    typed = {
        key: _type(one) if key in required else f"NotRequired[{_type(one)}]" for key, one in members.items()
    }
    if not all(re.fullmatch(r"[A-Za-z_]\w*", key) and key != "from" for key in members):
        pairs = ", ".join(f"{key!r}: {value!r}" for key, value in typed.items())
        return f"{name} = TypedDict({name!r}, {{{pairs}}})\n{text}"
    rows = [f"    {key}: {value}{_comment(members[key].get('description'))}" for key, value in typed.items()]
    return "\n".join([f"class {name}(TypedDict):", textwrap.indent(text, "    "), "", *rows])


def _text(words: str) -> str:
    lines = textwrap.wrap(f'"""{words}', 100)
    return "\n".join(lines) + ('"""' if len(lines) == 1 else '\n"""')


def _comment(words: str | None) -> str:
    return "\n" + textwrap.indent(_text(words), "    ") if words else ""


def _type(schema: Any) -> str:  # noqa: PLR0911 - one for each form of a schema
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": one}) for one in kind)
    if "enum" in schema and kind != "null":
        return f"Literal[{', '.join(repr(one) for one in schema['enum'] if one is not None)}]"
    if kind == "array":
        return f"list[{_type(schema.get('items') or {})}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_type(values) if isinstance(values, dict) else 'Any'}]"
    return _NAMES.get(kind, "Any")


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
