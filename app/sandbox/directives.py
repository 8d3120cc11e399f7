"""Directives in a prompt that control the sandbox: their table, their parser and their documentation.

A directive stands in square brackets anywhere in `prompt` (or `text`): `a boat [sandbox:fail]`. Several may
be given, in one bracket with commas or in several: `[sandbox:queue=2,run=0.5] [sandbox:fail]`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DAY_S = 86_400.0
BRACKET = re.compile(r"\[sandbox:([^\]]*)\]")
PROMPT_FIELDS = ("prompt", "text")


class DirectiveError(Exception):
    """A directive that cannot be followed; the message is meant for the author of the prompt."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive of the table.

    takes: "" for one without a value, else what the value is: SECONDS, CODE (an HTTP error status), N (an
        error code), COUNT (to how many calls it applies).
    default: the value when none is written; None makes a value compulsory.
    at: the route that it changes, or `job` when it changes the job itself.
    """

    name: str
    at: str
    text: str
    takes: str = ""
    default: float | None = 0.0

    @property
    def usage(self) -> str:
        """How it is written, such as `queue=SECONDS` or `rate-limit[=SECONDS]`."""
        if not self.takes:
            return self.name
        return f"{self.name}={self.takes}" if self.default is None else f"{self.name}[={self.takes}]"


TABLE = (
    Directive("queued", "job", "Stays in the queue for ever, until cancelled; others pass it."),
    Directive("queue", "job", "Stays in the queue at least this long.", "SECONDS", None),
    Directive("run", "job", "Runs at least this long.", "SECONDS", None),
    Directive(
        "canned", "job", "Renders nothing: every such video is one shared one-second clip. For load tests."
    ),
    Directive(
        "as-list", "job", "Answers `videos` or `images`, a list of one, instead of `video` or `image`."
    ),
    Directive("fail", "job", "Ends failed; `error` is a string."),
    Directive("fail-object", "job", "Ends failed; `error` is an object."),
    Directive("fail-list", "job", "Ends failed; `error` is a list."),
    Directive("reject", "submit", "Refused with this status and a vendor-shaped body; no job.", "CODE", 400),
    Directive(
        "status", "submit", "Refused with this status and an HTML page, as by a proxy; no job.", "CODE", 502
    ),
    Directive("error-code", "submit", "HTTP 200 with `error_code` N in the body; no job.", "N", None),
    Directive("rate-limit", "submit", "429 with `Retry-After` in seconds; no job.", "SECONDS", 2),
    Directive("rate-limit-date", "submit", "429 with `Retry-After` as a date; no job.", "SECONDS", 2),
    Directive("503-retry-after", "submit", "503 with `Retry-After` in seconds; no job.", "SECONDS", 2),
    Directive("unauthorized", "submit", 'HTTP 401 with `{"message":"Unauthorized"}`; no job.'),
    Directive("no-balance", "submit", "HTTP 402 with error code 400002; no job."),
    Directive("credential", "submit", "HTTP 400 with error code 400004, as for a bad token; no job."),
    Directive("redirect", "submit", "302 to another path; no job."),
    Directive("hang-before", "submit", "Never answers; no job."),
    Directive("recorded", "submit", "Makes any refusal above record (and charge) the job all the same."),
    Directive("hang", "submit", "Records the job and never answers."),
    Directive("slow", "submit", "Records the job and answers after this long.", "SECONDS", None),
    Directive("drip", "submit", "Answers one byte per this many seconds.", "SECONDS", 1),
    Directive("malformed", "submit", "Records the job; HTTP 200 with broken JSON."),
    Directive("html", "submit", "Records the job; HTTP 200 with an HTML page."),
    Directive("empty-object", "submit", "Records the job; HTTP 200 with `{}`."),
    Directive("no-id", "submit", "Records the job; the answer lacks `request_id`."),
    Directive("null-id", "submit", "Records the job; `request_id` is null."),
    Directive("numeric-id", "submit", "Records the job; `request_id` is a number."),
    Directive("long-id", "submit", "Records the job; `request_id` has 300 characters."),
    Directive("unsafe-id", "submit", "Records the job; `request_id` has slashes, dots and a line break."),
    Directive("oversize", "submit", "Records the job; the answer's body is over 64 KiB."),
    Directive(
        "truncated", "submit", "Records the job; the connection closes before `Content-Length` bytes came."
    ),
    Directive("vanish", "status", "Status and result answer 404 after the first status."),
    Directive("vanish-once", "status", "The second status answers 404, the others are normal."),
    Directive("unknown-status", "status", "Says `warming_up` while it runs, on result too."),
    Directive("alt-words", "status", "Says `succeeded`, `failed` or `canceled` when finished."),
    Directive("backwards", "status", "Says `in_queue` once more after the first `in_progress`."),
    Directive(
        "status-429", "status", "Status answers 429 with `Retry-After: 1`; COUNT calls, else all.", "COUNT"
    ),
    Directive("status-500", "status", "Status answers 500; the first COUNT calls, else all.", "COUNT"),
    Directive(
        "status-malformed", "status", "Status answers broken JSON; the first COUNT calls, else all.", "COUNT"
    ),
    Directive("status-hang", "status", "Status never answers; the first COUNT calls, else all.", "COUNT"),
    Directive("result-500", "result", "Result answers 500; the first COUNT calls, else all.", "COUNT"),
    Directive("result-missing-output", "result", "Succeeds without `output`."),
    Directive("not-cancellable", "cancel", "Cancel answers `not_cancellable`, even while in the queue."),
    Directive("cancel-500", "cancel", "Cancel answers 500 and does not cancel."),
    Directive("cancel-hang", "cancel", "Cancels, and never answers."),
)
BY_NAME = {directive.name: directive for directive in TABLE}


def parse(body: Mapping[str, Any]) -> dict[str, float]:
    """Returns the directives in an input, name to value (0 where none is taken).

    Raises:
        DirectiveError: one of them is unknown, or its value is wrong.

    """
    found: dict[str, float] = {}
    for field in PROMPT_FIELDS:
        text = body.get(field)
        if not isinstance(text, str):
            continue
        for bracket in BRACKET.findall(text):
            for word in bracket.split(","):
                name, _, value = word.strip().partition("=")
                found[name.strip()] = _value(name.strip(), value.strip())
    return found


def _value(name: str, written: str) -> float:
    """Returns the value of one directive, checked against what it takes."""
    directive = BY_NAME.get(name)
    if directive is None:
        known = ", ".join(each.usage for each in TABLE)
        raise DirectiveError(f"unknown sandbox directive {name!r}; known: {known}")
    if not written:
        if directive.default is None:
            raise DirectiveError(f"sandbox directive {name!r} needs a value: {directive.usage}")
        return directive.default
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not directive.takes or not _allowed(directive.takes, value):
        raise DirectiveError(f"sandbox directive {name!r} cannot be {written!r}: {directive.usage}")
    return value


def _allowed(takes: str, value: float) -> bool:
    """Returns whether a value is of the kind that is taken; NaN is of none."""
    if takes == "SECONDS":
        return 0 <= value <= DAY_S
    if takes == "CODE":
        return value.is_integer() and 400 <= value <= 599  # noqa: PLR2004  the range of HTTP errors
    return value.is_integer() and value >= 1


def markdown_table() -> str:
    """Returns the table as the documentation shows it."""
    lines = ["| Directive | Changes | What it does |", "|---|---|---|"]
    lines += [f"| `{each.usage}` | {each.at} | {each.text} |" for each in TABLE]
    return "\n".join(lines) + "\n"
