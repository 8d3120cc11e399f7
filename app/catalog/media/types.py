"""Which media types a media input accepts: those that the model's texts name, else all of its kind.

RunComfy's schemas have no keyword for this; they say "Upload JPEG/PNG format" in a description.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from app.catalog.media.rules import MediaKind

_TYPES: Final[Mapping[str, str]] = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heic",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "quicktime": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "aiff": "audio/aiff",
}
_NAMES: Final = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WebP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIC",
    "video/mp4": "MP4",
    "video/quicktime": "QuickTime",
    "video/webm": "WebM",
    "video/x-matroska": "Matroska",
    "video/x-msvideo": "AVI",
    "video/mpeg": "MPEG",
    "audio/mpeg": "MP3",
    "audio/wav": "WAV",
    "audio/ogg": "Ogg",
    "audio/flac": "FLAC",
    "audio/aac": "AAC",
    "audio/mp4": "M4A",
    "audio/aiff": "AIFF",
}
_WORD = re.compile(rf"(?<![a-z0-9])\.?({'|'.join(sorted(_TYPES, key=len, reverse=True))})s?(?![a-z0-9])")
_SENTENCE = re.compile(r"(?<=[.;!?])\s+|\n+")
# "Not WebP" names a type that is not accepted: sentences with a negation are ignored rather than interpreted.
_NEGATION = re.compile(r"\b(?:not|no|non|never|without|except|excluding|unsupported)\b|n't\b")


def types_named(texts: Iterable[object], kind: MediaKind) -> frozenset[str]:
    """Returns the media types of that kind that the texts name; an empty set where they name none."""
    found = {
        _TYPES[word]
        for text in texts
        if isinstance(text, str)
        for sentence in _SENTENCE.split(text.lower())
        if not _NEGATION.search(sentence)
        for word in _WORD.findall(sentence)
    }
    return frozenset(one for one in found if is_of_kind(one, kind))


def is_of_kind(media_type: str, kind: MediaKind) -> bool:
    """Returns whether a media type is of the kind; all types are of the kind `any`."""
    return kind == "any" or media_type.startswith(f"{kind}/")


def name_of(media_type: str) -> str:
    """Returns the common name of a media type, such as JPEG; the type itself where it has none."""
    return _NAMES.get(media_type, media_type)
