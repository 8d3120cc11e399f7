"""Commands that work on another machine: an operation is called over its admin API.

The variables REELGATE_ADMIN_URL and REELGATE_ADMIN_KEY choose that. They are no settings of a server, and are
read from the environment alone.
"""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from app.admin.operation import REASON, Operation
from app.config import SettingsError
from app.errors import CATALOGUE, INVALID_REASON, ROUTE_NOT_FOUND, Fault, FieldError, Problem
from app.kit.redaction import redactor
from app.settings.values import PREFIX

if TYPE_CHECKING:
    import httpx2

_URL: Final = f"{PREFIX}ADMIN_URL"
_KEY: Final = f"{PREFIX}ADMIN_KEY"
_TIMEOUT_S: Final = 30.0
_PAUSES_S: Final = (0.5, 2.0)
_UNAVAILABLE: Final = 503


class RemoteError(OSError):
    """The other machine did not answer as an admin API does; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Remote:
    """The admin API of another machine: its address, without a slash at its end, and the key to it."""

    url: str
    key: str = field(repr=False)

    def call(self, operation: Operation[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Carries out an operation, and returns its document.

        A call whose answer was lost is repeated with the same Idempotency-Key: nothing is changed twice.

        Raises:
            Problem: what the admin API refused it with.
            RemoteError: nobody answered, or not as an admin API does.

        """
        if operation.changes and not arguments.get(REASON):
            error = FieldError(f"#/{REASON}", "missing", "a change over the admin API needs --reason.")
            raise Problem(INVALID_REASON, error.detail, errors=[error])
        sent = operation.sent(arguments)
        headers = {"Authorization": f"Bearer {self.key}"}
        if operation.changes:
            headers["Idempotency-Key"] = str(uuid.uuid4())
        if operation.edits:
            headers["If-Match"] = "*"  # as on the server: the last one who sets it wins
        if operation.upload is not None:
            headers["Content-Type"] = operation.upload.media_type
        import httpx2  # noqa: PLC0415 - commands on the server do without it

        with httpx2.Client(timeout=_TIMEOUT_S) as client:
            request = client.build_request(
                operation.method,
                self.url + sent.path,
                params=tuple(sent.query),
                json=sent.body,
                content=sent.file,
                headers=headers,
            )
            return self._document(_answer(client, request))

    def file(
        self, operation: Operation[Any], arguments: Mapping[str, Any], form: str, file: IO[bytes]
    ) -> None:
        """Writes an operation's result in one of its other forms to a file.

        Raises:
            Problem: what the admin API refused it with.
            RemoteError: nobody answered, or not as an admin API does, or the answer ended too early.

        """
        import httpx2  # noqa: PLC0415 - as above

        sent = operation.sent(arguments)
        with (
            httpx2.Client(timeout=_TIMEOUT_S) as client,
            _origin_named(self.url),
            client.stream(
                "GET",
                self.url + sent.path,
                params=(*sent.query, ("format", form)),
                headers={"Authorization": f"Bearer {self.key}"},
            ) as answer,
        ):
            expected = operation.forms[form].media_type.partition(";")[0]
            if not answer.is_success or not answer.headers.get("content-type", "").startswith(expected):
                answer.read()
                self._document(answer)
                raise RemoteError(f"{self.url} answers without {expected}.")
            for part in answer.iter_bytes():
                file.write(part)

    def _document(self, answer: "httpx2.Response") -> dict[str, Any]:
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RemoteError(f"{self.url} answers {answer.status_code}, and not as an admin API does.")
        if answer.is_success:
            return document
        problem = _problem(document, answer.status_code)
        if problem.fault is ROUTE_NOT_FOUND:
            raise RemoteError(
                f"there is no admin API at {self.url} that knows this command: {PREFIX}ADMIN_API must be"
                f" true there, {_URL} its address, and its version not older than this one."
            )
        raise problem


def elsewhere() -> Remote | None:
    """Returns the admin API that commands are to call; None where they work on this machine.

    Raises:
        SettingsError: only one of the two variables is set, or the URL is none.

    """
    url, key = os.environ.get(_URL, ""), os.environ.get(_KEY, "")
    if not url and not key:
        return None
    if not url or not key:
        raise SettingsError(f"{_URL} and {_KEY} must be set together, or neither of them.")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(f"{_URL} must be an absolute http(s) URL without query or fragment.")
    redactor.remember([key])
    return Remote(url.rstrip("/"), key)


@contextmanager
def _origin_named(url: str) -> Iterator[None]:
    """Says which machine cannot be reached, where a connection fails."""
    import httpx2  # noqa: PLC0415 - as above

    try:
        yield
    except httpx2.TransportError as error:
        raise RemoteError(f"{url} cannot be reached ({error}).") from error


def _answer(client: "httpx2.Client", request: "httpx2.Request") -> "httpx2.Response":
    """Sends a call, and again where nobody answered or the other side is not available."""
    import httpx2  # noqa: PLC0415 - as above

    for pause_s in (*_PAUSES_S, None):
        try:
            answer = client.send(request)
        except httpx2.TransportError as error:
            if pause_s is None:
                origin = f"{request.url.scheme}://{request.url.netloc.decode()}"
                raise RemoteError(f"{origin} cannot be reached ({error}).") from error
        else:
            if answer.status_code != _UNAVAILABLE or pause_s is None:
                return answer
        time.sleep(pause_s)
    raise AssertionError  # the last turn returns or raises


def _problem(document: Mapping[str, Any], status: int) -> Problem:
    """Returns the problem that a problem document tells of."""
    code = str(document.get("code", "http_error"))
    unknown = Fault(code, status, str(document.get("title", "")), retryable=False, remedy="")
    errors = [
        FieldError(str(one.get("pointer")), str(one.get("code")), str(one.get("detail")))
        for one in document.get("errors", ())
    ]
    fault = next((one for one in CATALOGUE if one.code == code), unknown)
    return Problem(fault, str(document.get("detail") or fault.title or f"HTTP {status}"), errors=errors)
