"""`make docs`: writes the parts of the documentation that are made from the code.

A part of a page begins with `<!-- made by make docs: NAME -->` and ends with `<!-- end -->`; between them is
what the function of that name in `PARTS` returns. A test compares the two.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.main

from app.admin.operations.every import OPERATIONS
from app.api.admin import events
from app.api.internal.families import FAMILIES, TENANTS_ONLY
from app.cli.entry import cli
from app.config import Settings
from app.errors import CATALOGUE
from app.generations.lifecycle import RESULT_NAMES, STATUS_NAMES, TERMINAL, State
from app.settings.values import PREFIX

DOCS = Path(__file__).parents[1] / "docs"
_PART = re.compile(r"(<!-- made by make docs: (\w+) -->\n)(.*?)(\n<!-- end -->)", re.DOTALL)


def settings() -> str:
    """Returns the table of all settings: variable, default, description."""
    rows = ["| Variable | Default | What it sets |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        if isinstance(default, list):
            default = ",".join(default)
        shown = "" if default in {None, ""} else f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def errors() -> str:
    """Returns the table of all errors of the catalogue."""
    rows = ["| Code | Status | Retry helps | Title | What to do |", "|---|---|---|---|---|"]
    rows += [
        f"| `{fault.code}` | {fault.status} | {'yes' if fault.retryable else 'no'} "
        f"| {fault.title} | {fault.remedy} |"
        for fault in CATALOGUE
    ]
    return "\n".join(rows)


def error_codes() -> str:
    """Returns the table of RunComfy's numbers, with the errors of the catalogue that have them."""
    numbers = sorted({fault.error_code for fault in CATALOGUE if fault.error_code is not None})
    rows = ["| `error_code` | Where `code` is |", "|---|---|"]
    for number in numbers:
        codes = ", ".join(f"`{fault.code}`" for fault in CATALOGUE if fault.error_code == number)
        rows.append(f"| {number} | {codes} |")
    return "\n".join(rows)


def states() -> str:
    """Returns the table of all states of a generation, with what RunComfy's routes show for each."""
    rows = ["| State | On `/status` | On `/result` | Ends |", "|---|---|---|---|"]
    rows += [
        f"| `{state}` | `{STATUS_NAMES[state]}` | `{RESULT_NAMES[state]}` "
        f"| {'yes' if state in TERMINAL else 'no'} |"
        for state in State
    ]
    return "\n".join(rows)


def operations() -> str:
    """Returns the table of all operations of the admin API, with the commands that do the same."""
    rows = ["| Operation | Scope | Command |", "|---|---|---|"]
    rows += [
        f"| `{one.method} {one.path}` | `{one.scope}` | `reelgate {one.command}` |" for one in OPERATIONS
    ]
    rows.append(f"| `GET {events.PATH}` | `{events.SCOPE}` | an event stream: no command does the same |")
    return "\n".join(rows)


def metrics() -> str:
    """Returns the table of all metrics: name, kind, labels, whose numbers they are, meaning."""
    rows = ["| Metric | Kind | Labels | From | |", "|---|---|---|---|---|"]
    rows += [
        f"| `{one.published}`{' (*)' if one in TENANTS_ONLY else ''} | {one.kind} "
        f"| {', '.join(f'`{label}`' for label in one.labels)} | {one.source} | {one.text} |"
        for one in FAMILIES
    ]
    return "\n".join(rows)


def printing_options() -> str:
    """Returns the list of the commands that have an output for programs."""
    return (
        f"- `--json` prints everything, for programs: {_having('--json')}.\n"
        f"- `--quiet` prints the id or the key alone: {_having('--quiet')}."
    )


def _having(option: str) -> str:
    """Returns the names of the commands that have an option, for a sentence."""
    names = [
        name
        for name, command in commands(typer.main.get_command(cli))
        if any(option in parameter.opts for parameter in command.params)
    ]
    return ", ".join(f"`{name}`" for name in names)


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each command of a group and its sub-groups, with what is typed for it after `reelgate`.

    The groups of `reelgate` are imported when they are asked for, so `group.commands` alone would miss them.
    """
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (settings, errors, error_codes, states, operations, metrics, printing_options)
}


def renewed(page: str) -> str:
    """Returns a page's text with its parts as the code makes them now."""
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[4]}", page)


def parts_of(page: str) -> list[str]:
    """Returns the names of the parts of a page that are made from the code."""
    return [found[2] for found in _PART.finditer(page)]


def main() -> None:
    """Rewrites every page whose parts have changed, and prints its name."""
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (text := renewed(page)) != page:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{path.name}")


if __name__ == "__main__":
    main()
