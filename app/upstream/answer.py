"""One answer in HTTP/1.1, as far as it has arrived. Does no I/O; httptools judges the framing."""

from typing import Final

import httptools

from app.egress.heads import with_one_length

_MAX_HEAD_BYTES: Final = 65_536
_END_OF_HEAD: Final = b"\r\n\r\n"
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_OK: Final = 200


class Answer:
    """An answer that is given what arrives.

    `status`, `headers` (lower-case names) and `body` are as far as they arrived. `complete` is True once the
    whole answer did; otherwise `failure` says why it never will. `keeps_connection` says whether the
    connection may be used for another request. A body has at most `cap_bytes`. With `head_only` the answer is
    complete after its headers, as one to a CONNECT is.
    """

    def __init__(self, cap_bytes: int, *, head_only: bool = False) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False
        self.failure = ""
        self.keeps_connection = False
        self._cap_bytes = cap_bytes
        self._left_bytes = 2 * cap_bytes + _MAX_HEAD_BYTES  # of everything, the frames of chunks included
        self._head_only = head_only
        self._head = bytearray()  # of a head that has not arrived in full
        self._in_head = True
        self._is_framed = False  # its end is told by itself, not by the end of the connection
        self._parser = httptools.HttpResponseParser(self)

    @property
    def over(self) -> bool:
        """Whether nothing that arrives can change it any more."""
        return self.complete or bool(self.failure)

    def receive(self, data: bytes) -> bool:
        """Takes in bytes as they arrived. Returns whether the answer is over."""
        if self.over:
            self.keeps_connection = False
            return True
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self.failure = "too_large"
            return True
        try:
            while self._in_head and data:
                data = self._receive_head(data)
            if data:
                self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.keeps_connection = False
            if not self.complete:  # what follows a complete answer is none of it
                self.failure = self.failure or "RemoteProtocolError"
        return self.over

    def end(self, failure: str = "") -> None:
        """Takes in the end of the connection, which also is the end of an answer without a length of its own.

        `failure` says why, where the connection did not end as it should.
        """
        if self.over:
            return
        if failure or self._in_head or self._is_framed:
            self.failure = failure or "RemoteProtocolError"
        else:
            self.complete = True

    def _receive_head(self, data: bytes) -> bytes:
        """Takes in bytes of a head, and returns those after it. Nothing is parsed of a part of one."""
        before, self._head = self._head, self._head + data
        end = self._head.find(_END_OF_HEAD, max(0, len(before) - len(_END_OF_HEAD)))
        if (len(self._head) if end < 0 else end) > _MAX_HEAD_BYTES:
            self.failure = "too_large"
            return b""
        if end < 0:
            return b""
        end += len(_END_OF_HEAD)
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head.clear()
        self._parser.feed_data(with_one_length(head))
        return rest

    # The parser calls these.

    def on_message_begin(self) -> None:
        """Takes the begin of the answer or, behind it, of one that nobody asked for."""
        if self.complete:
            self.keeps_connection = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; one behind the body is none of the answer's."""
        if self._in_head:
            lower = name.lower()
            self._is_framed = self._is_framed or lower in _FRAMING
            key = lower.decode("latin-1")
            text = value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Takes the end of a head: the answer's, or an interim one's before it."""
        status = self._parser.get_status_code()
        if self.complete:  # a second answer
            return
        if status < _OK:
            self.headers.clear()
            self._is_framed = False
        else:
            self.status, self._in_head, self.complete = status, False, self._head_only

    def on_body(self, chunk: bytes) -> None:
        """Takes a part of the body."""
        if self.complete:
            return
        self.body += chunk[: self._cap_bytes + 1 - len(self.body)]
        if len(self.body) > self._cap_bytes:
            self.failure = "too_large"

    def on_message_complete(self) -> None:
        """Takes the end of the answer, or of an interim one."""
        if self.status is not None and not self.over:
            self.complete, self.keeps_connection = True, bool(self._parser.should_keep_alive())
