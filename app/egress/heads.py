"""The head of an answer, before the parser has it. Pure."""

from typing import Final

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


def with_one_length(head: bytes) -> bytes:
    """Returns the head of an answer with its Content-Length once, if it has it several times with one value.

    RFC 9110 allows that (8.6), and the parser does not. What follows the head stays as it is.
    """
    lines, end, body = head.partition(_END_OF_HEAD)
    if lines.lower().count(b"\n" + _LENGTH) < 2:  # noqa: PLR2004 - what is once is not repeated
        return head
    each = lines.split(b"\r\n")
    lengths = [line for line in each if line.lower().startswith(_LENGTH)]
    if len({line.partition(b":")[2].strip() for line in lengths}) > 1:
        return head  # the parser refuses it
    kept = [line for line in each if line not in lengths]
    return b"\r\n".join([kept[0], lengths[0], *kept[1:]]) + end + body
