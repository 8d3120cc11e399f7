"""Taking secrets out of a finished log line, whoever wrote it: the last step, so that nothing goes around it.

The code logs no secret on purpose. This is for what it does not write itself: texts of exceptions, lines of
libraries. Pure, and linear in the length of the line.
"""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_LEAST_CHARACTERS: Final = 8
_HIDDEN: Final = "[redacted]"
# The kid stays: it names the key, and opens nothing. What follows it is hidden, however mistyped.
_KEY = re.compile(r"(rg_(?:live|test|client)_[0-9A-Za-z]{12}_)[0-9A-Za-z_]+")
_SCHEME = re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_USER = re.compile(r"(://)[^\s/@:\"'<>\\]{0,200}:[^\s/@\"'<>\\]{0,500}@")
_URL = re.compile(r"https?://[^\s\"'<>\\]+")
_DATA = re.compile(r"(data:[a-z]+/[a-z0-9.+-]{1,80};base64,)([A-Za-z0-9+/=]{16,})", re.IGNORECASE)


class Redactor:
    """Takes known secrets and whatever looks like one out of a text."""

    def __init__(self) -> None:
        self._known: re.Pattern[str] | None = None
        self._forms: set[str] = set()

    def remember(self, secrets: Iterable[str]) -> None:
        """Hide these from now on, also as JSON and URLs write them; under eight characters is no secret."""
        for secret in secrets:
            if len(secret) >= _LEAST_CHARACTERS:
                self._forms |= {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}
        # The longest first: one secret may begin with another.
        forms = sorted(self._forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, forms))) if forms else None

    def redact(self, text: str) -> str:
        """The text without them."""
        if self._known is not None:
            text = self._known.sub(_HIDDEN, text)
        if "rg_" in text:
            text = _KEY.sub(r"\1" + _HIDDEN, text)
        if "earer" in text or "asic" in text or "EARER" in text or "ASIC" in text:
            text = _SCHEME.sub(r"\1\2" + _HIDDEN, text)
        if "://" in text:
            text = _URL.sub(_without_query, _USER.sub(r"\1" + _HIDDEN + "@", text))
        if ";base64," in text:
            text = _DATA.sub(lambda found: f"{found[1]}({len(found[2])} characters)", text)
        return text


def _without_query(found: re.Match[str]) -> str:
    kept = re.split("[?#]", found[0], maxsplit=1)
    return found[0] if len(kept) == 1 else f"{kept[0]}?{_HIDDEN}"


redactor: Final = Redactor()
"""The process's own: logs are the process's, too."""
