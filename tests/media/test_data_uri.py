"""Files by value: what Chromium shows is read, and sent on in one form.

The cases of both tables were shown to Chromium as the source of an `<img>`.
"""

import base64
import binascii
import io
import random
from contextlib import suppress
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.media import data_uri
from app.media.data_uri import DataURIRefused, is_data_uri, unpack
from app.media.facts import Facts, UnreadableError
from tests.profiles import examples


def _file() -> tuple[bytes, str]:
    """A picture whose base64 has all that is odd in base64: both signs, and padding of two."""
    out = io.BytesIO()
    Image.new("RGB", (3, 2)).save(out, "PNG")
    data = out.getvalue()
    data += b"\xff\xfb\xef" + bytes(1 + (-len(data) % 3))
    text = base64.b64encode(data).decode()
    assert text.endswith("==")
    assert {"+", "/"} <= set(text)
    return data, text


DATA, TEXT = _file()
P = "data:image/png;base64,"
CANONICAL = P + TEXT
BARE = TEXT.rstrip("=")
LINES = "\n".join(TEXT[at : at + 20] for at in range(0, len(TEXT), 20))
ESCAPED = "".join(f"%{ord(one):02X}" for one in TEXT)

SHOWN = {
    "plain": CANONICAL,
    "without-padding": P + BARE,
    "line-breaks": P + LINES,
    "crlf": P + LINES.replace("\n", "\r\n"),
    "blank": P + TEXT[:10] + " " + TEXT[10:],
    "tab": P + TEXT[:10] + "\t" + TEXT[10:],
    "form-feed": P + TEXT[:10] + "\f" + TEXT[10:],
    "escaped-padding": P + TEXT.replace("=", "%3D"),
    "escaped-signs": P + TEXT.replace("+", "%2B").replace("/", "%2f"),
    "escaped-line-breaks": P + LINES.replace("\n", "%0A"),
    "escaped-blank": P + TEXT[:10] + "%20" + TEXT[10:],
    "all-escaped": P + ESCAPED,
    "upper-case": "DATA:IMAGE/PNG;BASE64," + TEXT,
    "no-type": "data:;base64," + TEXT,
    "any-bytes": "data:application/octet-stream;base64," + TEXT,
    "text": "data:text/plain;base64," + TEXT,
    "page": "data:text/html;base64," + TEXT,
    "wrong-type": "data:image/jpeg;base64," + TEXT,
    "wrong-kind": "data:video/mp4;base64," + TEXT,
    "half-a-type": "data:image;base64," + TEXT,
    "star": "data:image/*;base64," + TEXT,
    "jpg": "data:image/jpg;base64," + TEXT,
    "undefined": "data:undefined;base64," + TEXT,
    "charset": "data:image/png;charset=utf-8;base64," + TEXT,
    "name": "data:image/png;name=a.png;base64," + TEXT,
    "name-escaped": "data:image/png;name=a%20b.png;base64," + TEXT,
    "name-escaped-comma": "data:image/png;name=a%2Cb.png;base64," + TEXT,
    "name-quoted": 'data:image/png;name="a b.png";base64,' + TEXT,
    "name-with-brackets": "data:image/png;name=a(1).png;base64," + TEXT,
    "name-not-ascii": "data:image/png;name=bü.png;base64," + TEXT,
    "name-with-blank": "data:image/png;name=a b.png;base64," + TEXT,
    "name-with-semicolon": 'data:image/png;name="a;b.png";base64,' + TEXT,
    "parameter-without-value": "data:image/png;foo;base64," + TEXT,
    "empty-parameter": "data:image/png;;base64," + TEXT,
    "blank-before-type": "data: image/png;base64," + TEXT,
    "blank-before-base64": "data:image/png; base64," + TEXT,
    "blank-after-base64": "data:image/png;base64 ," + TEXT,
    "blank-after-type": "data:image/png ;base64," + TEXT,
    "blank-after-comma": P + " " + TEXT,
    "blank-in-front": " " + CANONICAL,
    "line-break-in-front": "\n" + CANONICAL,
    "line-break-behind": CANONICAL + "\n",
    "line-break-in-type": "data:image/\npng;base64," + TEXT,
    "line-break-in-scheme": "da\nta:image/png;base64," + TEXT,
    "escaped-type": "data:image%2Fpng;base64," + TEXT,
    "escaped-body": "data:image/png," + "".join(f"%{one:02x}" for one in DATA),
    "escaped-where-needed": "data:image/png," + quote_from_bytes(DATA),
    "fragment": CANONICAL + "#x",
    "slashes": "data:///image/png;base64," + TEXT,
    "bits-behind-the-end": P + BARE[:-1] + chr(ord(BARE[-1]) + 1) + "==",
}
NOT_SHOWN = {
    "no-semicolon": "data:base64," + TEXT,
    "base64-first": "data:image/png;base64;charset=utf-8," + TEXT,
    "base64-not-said": "data:image/png," + TEXT,
    "one-of-two-paddings": CANONICAL[:-1],
    "three-paddings": CANONICAL + "=",
    "no-break-space": P + TEXT[:10] + "\u00a0" + TEXT[10:],
    "url-safe": P + TEXT.replace("+", "-").replace("/", "_"),
    "plus-as-blank": P + TEXT.replace("+", " "),
    "comma-in-name": 'data:image/png;name="a,b.png";base64,' + TEXT,
    "escaped-semicolon": "data:image/png%3Bbase64," + TEXT,
    "escaped-comma": "data:image/png;base64%2C" + TEXT,
    "query": CANONICAL + "?x",
    "other-sign": P + TEXT[:10] + "*" + TEXT[10:],
    "broken-escape": P + TEXT[:10] + "%zz" + TEXT[10:],
    "padding-inside": P + TEXT[:8] + "==" + TEXT[8:],
    "cut": P + BARE[:-1],
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_browser_shows_is_read_and_sent_on_in_one_form(name: str) -> None:
    assert is_data_uri(SHOWN[name])
    unpacked = unpack(SHOWN[name])
    assert unpacked.uri == CANONICAL
    assert unpacked.seen == Facts("image/png", len(DATA), 3, 2)


@pytest.mark.parametrize("name", NOT_SHOWN)
def test_what_a_browser_does_not_show_is_refused(name: str) -> None:
    with suppress(DataURIRefused):
        assert isinstance(unpack(NOT_SHOWN[name]).seen, UnreadableError)


def test_a_refusal_says_what_is_wrong() -> None:
    for name, words in {
        "url-safe": "in the usual base64, with + and / instead of - and _",
        "escaped-comma": "with a comma before its data",
        "other-sign": "whose data is valid base64",
        "cut": "some of it is missing",
    }.items():
        with pytest.raises(DataURIRefused) as caught:
            unpack(NOT_SHOWN[name])
        assert words in str(caught.value)
    with pytest.raises(DataURIRefused, match="with data in it"):
        unpack(P)


def test_the_form_that_is_sent_on_stays_as_it_is() -> None:
    assert unpack(CANONICAL).uri is CANONICAL
    large = P + base64.b64encode(DATA + random.Random(1).randbytes(1_000_000)).decode()  # noqa: S311 - a picture
    assert unpack(large).uri is large


@settings(max_examples=examples(200), derandomize=True, database=None)
@given(data=st.binary(min_size=1, max_size=100), cut=st.integers(1, 30), escape=st.integers(0, 9))
def test_any_bytes_survive_any_way_of_writing_them(data: bytes, cut: int, escape: int) -> None:
    text = base64.b64encode(data).decode()
    lines = "\r\n".join(text[at : at + cut] for at in range(0, len(text), cut))
    escaped = "".join(f"%{ord(one):02x}" if index % 10 == escape else one for index, one in enumerate(text))
    bodies = (text, text.rstrip("="), lines, escaped, f" {text} ")
    uris = {unpack(f"data:image/x;base64,{body}").uri for body in bodies}
    uris.add(unpack(f"data:image/x,{quote_from_bytes(data)}").uri)
    assert len(uris) == 1
    (uri,) = uris
    assert binascii.a2b_base64(uri.partition(",")[2], strict_mode=True) == data


@settings(max_examples=examples(300), derandomize=True, database=None)
@given(st.text(st.sampled_from("da:t/;,b64 \n%=+-_#A\u00e9\ud800"), max_size=60))
def test_no_text_raises_anything_unforeseen(text: str) -> None:
    try:
        unpacked = unpack(f"data:{text}")
    except DataURIRefused:
        return
    assert unpack(unpacked.uri).uri == unpacked.uri


@given(st.text(alphabet="%4fGé", max_size=40), st.integers(3, 9))
def test_escapes_are_decoded_as_urllib_does_wherever_the_pieces_end(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_uri, "_PIECE", piece)
        assert data_uri._unescaped(text) == unquote_to_bytes(text)
