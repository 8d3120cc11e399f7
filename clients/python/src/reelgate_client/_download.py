"""What is known of a file while it is downloaded. Touches the disk, and no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from reelgate_client._wire import user_agent
from reelgate_client.errors import DownloadFailed

_SINGLE = ("video", "image", "audio")
_SEVERAL = ("videos", "images", "audios")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):", re.IGNORECASE)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class Downloaded:
    """A file on this machine, whole."""

    path: Path
    size_bytes: int
    sha256: str


def files_of(result: Mapping[str, Any]) -> list[str]:
    """Returns the URLs of all files of a result, each once."""
    output = result.get("output") or {}
    found = [output[name] for name in _SINGLE if isinstance(output.get(name), str)]
    for name in _SEVERAL:
        found += [one for one in output.get(name) or [] if isinstance(one, str)]
    return list(dict.fromkeys(found))


def url_in(source: Mapping[str, Any] | str) -> str:
    """Returns the URL to download: it, or that of the one file of a result."""
    if isinstance(source, str):
        return source
    found = files_of(source)
    if len(found) != 1:
        raise ValueError(f"The result has {len(found)} files: download each URL of files_of(result).")
    return found[0]


def target_of(url: str, path: Path | None) -> Path:
    """Returns where a file goes: a folder is given the file's own name."""
    name = re.sub(r"[^\w.\-]", "_", Path(unquote(urlsplit(url).path)).name).lstrip(".") or "download"
    if path is None:
        return Path(name)
    return path / name if path.is_dir() else path


class Partial:
    """A file that is not whole yet, beside the place where it will be.

    `start` is how much of it is there and belongs to the file that the validator names, also after another
    process has written it.
    """

    def __init__(self, target: Path, url: str) -> None:
        self._target = target
        self._part = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.part.json")
        self._url = url.partition("?")[0]  # signatures of addresses differ from one to the next
        self.start = 0
        self.size: int | None = None
        self.validator = ""
        self._digest = ""
        with suppress(OSError, ValueError, KeyError, TypeError):
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
            if notes["url"] == self._url and notes["validator"]:
                self.validator, self.size, self._digest = notes["validator"], notes["size"], notes["digest"]
                self.start = self._part.stat().st_size

    def headers(self) -> dict[str, str]:
        """Returns the headers that ask for what is missing."""
        plain = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": user_agent()}
        if not self.start or not self.validator:
            return plain
        return {**plain, "Range": f"bytes={self.start}-", "If-Range": self.validator}

    def begins(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes the head of an answer: the rest of the file, or all of it."""
        said = _RANGE.fullmatch(headers.get("content-range", ""))
        if status == 206 and said is not None and int(said[1]) == self.start:  # noqa: PLR2004 - partial content
            self.size = int(said[2]) if said[2] != "*" else self.size
            return
        self.start = 0
        length = headers.get("content-length", "")
        self.size = int(length) if length.isdigit() and status == 200 else None  # noqa: PLR2004 - the whole
        tag = headers.get("etag", "")
        self.validator = tag if tag.startswith('"') else ""  # a weak tag does not say that bytes are the same
        digest = _DIGEST.search(headers.get("repr-digest", "") or headers.get("content-digest", ""))
        self._digest = base64.b64decode(digest[1]).hex() if digest else ""
        self._part.write_bytes(b"")
        notes = {"url": self._url, "validator": self.validator, "size": self.size, "digest": self._digest}
        self._notes.write_text(json.dumps(notes), encoding="utf-8")

    def append(self, data: bytes) -> None:
        """Adds the next bytes."""
        with self._part.open("ab") as file:
            file.write(data)
        self.start += len(data)

    def finish(self, sha256: str | None) -> Downloaded:
        """Puts the whole file in its place.

        Raises:
            DownloadFailed: it is not the file that was announced; what was there is deleted.

        """
        with self._part.open("rb") as file:
            found = _sha256(file)
        for expected in filter(None, (sha256, self._digest)):
            if found != expected.lower():
                self.forget()
                raise DownloadFailed(
                    {
                        "code": "download_differs",
                        "detail": f"The file's SHA-256 is {found}, and not {expected}.",
                        "remedy": "Download it again; if it stays so, do not use the file.",
                    }
                )
        self._part.replace(self._target)
        self._notes.unlink(missing_ok=True)
        return Downloaded(self._target, self.start, found)

    def forget(self) -> None:
        """Deletes what is there."""
        self._part.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self.start, self.validator, self.size = 0, "", None


def _sha256(file: Any) -> str:
    found = hashlib.sha256()
    while data := file.read(1 << 20):
        found.update(data)
    return found.hexdigest()
