"""Redaction of secrets in log lines, applied to each finished line so that no way of logging bypasses it.

Our own code logs no secrets. This is for text that it does not write itself: messages of exceptions, and
lines of libraries. Pure, and linear in the length of the line.
"""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_MIN_CHARACTERS: Final = 8
_HIDDEN: Final = "[redacted]"
# The kid stays visible: it names the key and gives no access. What follows it is hidden, even if mistyped.
_KEY = re.compile(r"(rg_(?:live|test|client|admin)_[0-9A-Za-z]{12}_)[^\s\"'<>\\,;:&?#(){}\[\]]+")
_WEBHOOK_SECRET = re.compile(r"\b(whsec_)[A-Za-z0-9+/=_-]{16,}")
_SCHEME = re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# None of the next patterns matches past the next `://`, so each part of the text is read once or twice.
_USER = re.compile(r"(://)[^\s/:\"'<>\\]*:[^\s/\"'<>\\]*@")
_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_DATA = re.compile(r"(;base64,)([A-Za-z0-9+/=_%-]{16,})", re.IGNORECASE)


class Redactor:
    """Replaces known secrets, and whatever looks like a secret, in a text."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def remember(self, secrets: Iterable[str]) -> None:
        """Adds secrets that `redact` hides from now on, also as JSON and URLs write them.

        A text of fewer than eight characters does not count as a secret, and is ignored.
        """
        forms = set(self._forms)
        for secret in secrets:
            if len(secret) >= _MIN_CHARACTERS:
                forms |= {secret, quote(secret), quote(secret, safe="")}
                forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        # The longest is replaced first, because one secret may begin with another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def finds_secret(self, text: str) -> bool:
        """Returns whether the text has a remembered secret, a key, a token or a webhook secret in it."""
        return any(form in text for form in self._forms) or any(
            form.search(text) is not None for form in (_KEY, _WEBHOOK_SECRET)
        )

    def hide_keys(self, text: str) -> str:
        """Returns the text with what follows the kids of keys and the ids of client tokens hidden."""
        return _KEY.sub(r"\1" + _HIDDEN, text)

    def redact(self, text: str) -> str:
        """Returns the text with its secrets hidden."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, _HIDDEN)
        if "rg_" in text:
            text = _KEY.sub(r"\1" + _HIDDEN, text)
        if "whsec_" in text:
            text = _WEBHOOK_SECRET.sub(r"\1" + _HIDDEN, text)
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
"""The redactor of this process, whose log has one too."""
