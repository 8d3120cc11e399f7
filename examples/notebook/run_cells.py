"""Runs the cells of a notebook in order, without Jupyter: python run_cells.py video.ipynb."""

import ast
import json
import sys
import types
from pathlib import Path
from typing import Any


def main() -> None:
    """Runs each cell, and prints what its last line is worth, as a notebook shows it."""
    notebook = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    display: Any = types.ModuleType("IPython.display")
    display.Video = lambda path: f"<video of {path}>"
    sys.modules.setdefault("IPython", types.ModuleType("IPython"))
    sys.modules.setdefault("IPython.display", display)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            _run("".join(cell["source"]), f"cell {number}", names)


def _run(text: str, place: str, names: dict[str, Any]) -> None:
    tree = ast.parse(text, place)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, place, "exec"), names)  # noqa: S102 - a notebook is made to be run
    if isinstance(last, ast.Expr):
        worth = eval(compile(ast.Expression(last.value), place, "eval"), names)  # noqa: S307 - as above
        if worth is not None:
            print(worth)


if __name__ == "__main__":
    main()
