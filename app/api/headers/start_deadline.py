"""The `Reelgate-Start-Deadline` header: when a request is to be cancelled that has not started."""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from starlette.datastructures import Headers

from app.errors import INVALID_PARAMETER, FieldError, Problem

HEADER: Final = "Reelgate-Start-Deadline"
MAX_S: Final = 30 * 86_400
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


def start_deadline_of(headers: Headers, *, now_ms: int) -> int | None:
    """Returns the deadline in milliseconds since 1970, or None where none was sent.

    The header holds seconds from now, or a date in the format of HTTP or RFC 3339.

    Raises:
        Problem: INVALID_PARAMETER, where it is neither, or not between now and `MAX_S` seconds from now.

    """
    values = headers.getlist(HEADER)
    if not values:
        return None
    if len(values) > 1:
        raise _invalid("was sent more than once")
    text = values[0].strip()
    at_ms = now_ms + int(text) * 1000 if _SECONDS.fullmatch(text) else _moment_ms(text)
    if at_ms is None:
        raise _invalid("is neither a number of seconds nor a date such as `Thu, 26 Nov 2026 12:00:00 GMT`")
    if at_ms <= now_ms:
        raise _invalid("is not in the future")
    if at_ms > now_ms + MAX_S * 1000:
        raise _invalid(f"is more than {MAX_S} seconds away")
    return at_ms


def _moment_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
        return None if moment.tzinfo is None else int(moment.timestamp() * 1000)  # no zone: ambiguous
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _invalid(why: str) -> Problem:
    error = FieldError(f"#/header/{HEADER}", "start_deadline", why)
    return Problem(INVALID_PARAMETER, f"The {HEADER} {why}.", errors=[error])
