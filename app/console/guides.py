"""The project's own documents as web pages: Markdown files, rendered when somebody first asks for one."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import pairwise
from pathlib import Path
from posixpath import relpath
from string import Template
from typing import TYPE_CHECKING, Final

from app import shipped

if TYPE_CHECKING:
    from markdown_it.token import Token

ROOT: Final = shipped.root()
"""The folder of the documents; an installation that leaves them out has no guides."""

SHOWN: Final = {
    "For whoever calls the API": (
        "api",
        "files",
        "mirror",
        "webhooks",
        "webhook-receivers",
        "errors",
        "clients",
        "browsers",
        "models",
        "sandbox",
    ),
    "For whoever runs it": (
        "readme",
        "operating",
        "upgrading",
        "backups",
        "growth",
        "deploying",
        "runbooks",
        "metrics",
        "logs",
        "traces",
        "capacity",
        "console",
        "audit",
        "settings",
        "queueing",
        "reliability",
        "security",
        "benchmarks",
    ),
    "For whoever works on it": ("architecture", "glossary", "api-design", "decisions/README"),
}
"""The guides that the home page lists, in groups."""

_TEMPLATE: Final = Template((Path(__file__).parent / "static" / "guide.html").read_text(encoding="utf-8"))
_COMMENT: Final = re.compile(r"^<!--.*-->\n", re.MULTILINE)


def name_of(file: Path) -> str:
    """Returns the name of a document's page: its path below `docs` without the suffix, or `readme`."""
    return "readme" if file.parent == ROOT else file.relative_to(ROOT / "docs").with_suffix("").as_posix()


def page(title: str, body: str, base: str) -> str:
    """Returns a whole HTML page. `base` leads from the page to the gateway's root, such as `../`."""
    return _TEMPLATE.substitute(title=escape(title), body=body, base=base)


@dataclass(frozen=True)
class Guides:
    """The documents that are there, by the names of their pages."""

    files: dict[str, Path]

    @classmethod
    def found(cls) -> "Guides":
        """Returns the guides of this installation; none where it has no documents."""
        docs = ROOT / "docs"
        files = [ROOT / "README.md", *sorted(docs.rglob("*.md"))] if docs.is_dir() else []
        return cls({name_of(file): file for file in files if file.is_file()})

    @cached_property
    def titles(self) -> dict[str, str]:
        """The first heading of each document."""
        return {name: _first_heading(file) for name, file in self.files.items()} | {
            "readme": "Getting started"
        }

    def html(self, name: str) -> str:
        """Returns the page of a guide, with links to other guides as links between pages.

        A link to a file that is not served, such as a test, is shown as its text alone.

        Raises:
            KeyError: there is no such guide.

        """
        from markdown_it import MarkdownIt  # noqa: PLC0415 - slow, and most servers never render a page

        file = self.files[name]
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        tokens = markdown.parse(_COMMENT.sub("", file.read_text(encoding="utf-8")))
        base = "../" * (1 + name.count("/"))
        _name_headings(tokens)
        for token in tokens:
            token.attrs.pop("style", None)  # a column's alignment, which the page's policy would drop
            token.children = self._linked(token.children or [], file, base) if token.children else None
        body = str(markdown.renderer.render(tokens, markdown.options, {}))
        return page(self.titles[name], body, base)

    def _linked(self, tokens: "list[Token]", file: Path, base: str) -> "list[Token]":
        kept: list[Token] = []
        open_links: list[bool] = []
        for token in tokens:
            if token.type == "link_open":
                target = self._target(str(token.attrs["href"]), file, base)
                open_links.append(target is not None)
                if target is None:
                    continue
                token.attrs["href"] = target
            elif token.type == "link_close" and not open_links.pop():
                continue
            elif token.type == "image":
                token.attrs["src"] = f"{base}guides/{Path(str(token.attrs['src'])).name}"
            kept.append(token)
        return kept

    def _target(self, href: str, file: Path, base: str) -> str | None:
        """Returns where a document's link leads on the pages; None where its target is not served."""
        if re.match(r"[a-z]+:", href):
            return href
        path, mark, anchor = href.partition("#")
        if not path:
            return href
        target = (file.parent / path).resolve()
        if target == ROOT / "openapi.json":
            return f"{base}openapi.json"
        if target not in self.files.values():
            return None
        name = name_of(target)
        return relpath(name, Path(name_of(file)).parent.as_posix()) + mark + anchor


_DOORS: Final = {
    "playground": ("Playground", "Make a video in this browser."),
    "portal": ("Portal", "Your requests, usage, keys and statements."),
    "console": ("Console", "For whoever operates this gateway."),
    "docs": ("API reference", "Every route, to read and to try."),
    "openapi.json": ("Contract", "The same as OpenAPI, for tools."),
    "docs/guides": ("Guides", "Search all of them."),
}
"""The pages that a gateway may have, each with the words on its door of the home page."""


def home(guides: Guides, pages: Collection[str] = ()) -> str:
    """Returns the page at the gateway's root, which leads to all others; `pages` are those that it has."""
    shown = {*pages, "docs", "openapi.json", *(["docs/guides"] if guides.files else [])}
    doors = "".join(
        f'<a class="door" href="{name}"><strong>{title}</strong>{text}</a>'
        for name, (title, text) in _DOORS.items()
        if name in shown
    )
    groups = "".join(_group(title, names, guides) for title, names in SHOWN.items())
    body = (
        "<h1>Reelgate</h1><p>A gateway in front of RunComfy's media generation API.</p>"
        f'<nav class="doors" aria-label="Main">{doors}</nav>{groups}'
    )
    return page("Reelgate", body, "./")


def _group(title: str, names: tuple[str, ...], guides: Guides) -> str:
    items = "".join(
        f'<li><a href="guides/{name}">{escape(guides.titles[name])}</a></li>'
        for name in names
        if name in guides.files
    )
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>" if items else ""


def _first_heading(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next((line[2:].strip() for line in lines if line.startswith("# ")), file.stem)


def _name_headings(tokens: "list[Token]") -> None:
    """Gives each heading the `id` that links to it use, as the usual renderers of Markdown make it."""
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            words = "".join(one.content for one in inline.children or [])
            token.attrs["id"] = anchor_of(words)


def anchor_of(words: str) -> str:
    """Returns the `id` of a heading with these words."""
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
