"""Taking secrets out of a finished log line, whoever wrote it: the last step, so that nothing goes around it.

The code logs no secret on purpose. This is for what it does not write itself: texts of exceptions, lines of
libraries. Pure, and linear in the length of the line.
"""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_MIN_CHARACTERS: Final = 8
_HIDDEN: Final = "[redacted]"
# The kid stays: it names the key, and opens nothing. What follows it is hidden, however mistyped.
_KEY = re.compile(r"(rg_(?:live|test|client)_[0-9A-Za-z]{12}_)[^\s\"'<>\\,;:&?#(){}\[\]]+")
_SCHEME = re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# None of these goes on past the next `://`, so however many there are, each is read once or twice.
_USER = re.compile(r"(://)[^\s/:\"'<>\\]*:[^\s/\"'<>\\]*@")
_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_DATA = re.compile(r"(;base64,)([A-Za-z0-9+/=_%-]{16,})", re.IGNORECASE)


class Redactor:
    """Takes known secrets and whatever looks like one out of a text."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def remember(self, secrets: Iterable[str]) -> None:
        """Hide these from now on, also as JSON and URLs write them; under eight characters is no secret."""
        forms = set(self._forms)
        for secret in secrets:
            if len(secret) >= _MIN_CHARACTERS:
                forms |= {secret, quote(secret), quote(secret, safe="")}
                forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        # The longest first: one secret may begin with another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, _HIDDEN)
        if "rg_" in text:
            text = _KEY.sub(r"\1" + _HIDDEN, text)
        lowered = text.lower()
        if "bearer" in lowered or "basic" in lowered:
            text = _SCHEME.sub(r"\1\2" + _HIDDEN, text)
        if "://" in text:
            text = _URL.sub(_without_query, _USER.sub(r"\1" + _HIDDEN + "@", text))
        if ";base64," in lowered:
            text = _DATA.sub(lambda found: f"{found[1]}({len(found[2])} characters)", text)
        return text


def _without_query(found: re.Match[str]) -> str:
    kept = re.split("[?#]", found[0], maxsplit=1)
    return found[0] if len(kept) == 1 else f"{kept[0]}?{_HIDDEN}"


redactor: Final = Redactor()
"""The process's own: logs are the process's, too."""
