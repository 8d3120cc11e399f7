"""Searching the guides: every section in which all words stand, those with most of them first."""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from app.console.guides import Guides, anchor_of

MAX_QUERY: Final = 100
_MAX_FOUND: Final = 40
_AROUND: Final = 90  # characters to each side of the first word
_HEADING: Final = re.compile(r"^#{1,4} +(.+)$")
_FENCE: Final = "```"
_MARKS: Final = re.compile(r"[`*|]|\[|\]\([^)]*\)|<!--.*?-->")


class Section(NamedTuple):
    """A part of a guide below one heading, as plain text."""

    guide: str
    title: str
    anchor: str
    text: str


class Index:
    """The sections of all guides, read when somebody first searches."""

    def __init__(self, guides: Guides) -> None:
        self._guides = guides
        self._sections: list[Section] | None = None

    def html(self, query: str) -> str:
        """Returns what was found, as the body of a page."""
        words = query.casefold().split()
        found = self._found(words) if words else []
        items = "".join(self._item(one, words) for one in found[:_MAX_FOUND])
        told = (
            f"<p>{len(found)} {'section has' if len(found) == 1 else 'sections have'} all of it.</p>"
            if words
            else ""
        )
        return f"<h1>Guides</h1>{form(query)}{told}<ul class='found'>{items}</ul>"

    def _found(self, words: list[str]) -> list[Section]:
        if self._sections is None:
            self._sections = [
                one for name, file in self._guides.files.items() for one in _sections_of(name, file)
            ]
        ranked = []
        for place, one in enumerate(self._sections):
            title, text = one.title.casefold(), one.text.casefold()
            counts = [10 * title.count(word) + text.count(word) for word in words]
            if all(counts):
                ranked.append((-min(counts) - 0.01 * sum(counts), place, one))
        return [one for _, _, one in sorted(ranked)]

    def _item(self, one: Section, words: list[str]) -> str:
        at = max(0, one.text.casefold().find(words[0]))
        begin = max(0, at - _AROUND)
        shown = ("…" if begin else "") + one.text[begin : at + _AROUND].strip() + "…"
        guide = self._guides.titles[one.guide]
        address = f"../guides/{quote(one.guide)}#{quote(one.anchor)}"
        name = one.title if one.title == guide else f"{guide}: {one.title}"
        return f'<li><a href="{address}">{escape(name)}</a><br>{escape(shown)}</li>'


def form(query: str = "", action: str = "guides") -> str:
    """Returns the form that searches; `action` leads to the page from where the form is."""
    return (
        f'<form class="search" role="search" action="{action}" method="get">'
        f'<input type="search" name="q" maxlength="{MAX_QUERY}" value="{escape(query)}"'
        ' aria-label="Search the guides" placeholder="Search the guides"><button>Search</button></form>'
    )


def _sections_of(name: str, file: Path) -> Iterator[Section]:
    title, anchor, lines, is_code = "", "", list[str](), False
    for line in file.read_text(encoding="utf-8").splitlines():
        is_code ^= line.startswith(_FENCE)
        heading = None if is_code else _HEADING.match(line)
        if heading is None:
            lines.append(line)
            continue
        if title:
            yield Section(name, title, anchor, _plain(lines))
        words = _MARKS.sub("", heading[1])
        title, anchor, lines = words, anchor_of(words), []
    if title:
        yield Section(name, title, anchor, _plain(lines))


def _plain(lines: list[str]) -> str:
    return " ".join(_MARKS.sub("", " ".join(lines)).split())
