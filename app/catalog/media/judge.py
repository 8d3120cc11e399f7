"""Judges a file's facts by the rules of its model."""

from fractions import Fraction
from operator import ge, gt, le, lt
from typing import Final

from app.catalog.media.rules import METRICS, MediaKind, MediaRule
from app.catalog.media.types import is_of_kind, name_of
from app.catalog.schema import MediaInput
from app.media.facts import Facts

_BYTES_PER_MB: Final = 1_000_000
_HOLDS: Final = {"<": lt, "<=": le, ">": gt, ">=": ge}
_KINDS: Final = {"image": "a picture", "video": "a video", "audio": "audio", "any": "a media file"}


def faults_of(media: MediaInput, facts: Facts) -> list[tuple[str, str]]:
    """Returns what is wrong with a file in this place, as pairs of code and text; each text once.

    A rule about a property that is unknown for this file is skipped.
    """
    if media.types and facts.type not in media.types:
        wanted = " or ".join(sorted(map(name_of, media.types)))
        return [("media_type", f"must be {wanted}, is {name_of(facts.type)}")]
    if not is_of_kind(facts.type, media.kind):
        return [("media_type", f"must be {_KINDS[media.kind]}, is {name_of(facts.type)}")]
    broken = [rule for rule in media.rules if breaks(rule, facts)]
    return [("media_rule", text) for text in dict.fromkeys(rule.message for rule in broken)]


def breaks(rule: MediaRule, facts: Facts) -> bool:
    """Returns whether the file breaks the rule.

    The comparison uses exact fractions, so that rounding does not decide whether 33 by 100 pixels meet a
    ratio of 0.33.
    """
    measured = _measured(rule.metric, facts)
    if measured is None or not rule.understood:
        return False
    return not _HOLDS[rule.operator](measured, Fraction(repr(rule.value)))


def is_enforced(rule: MediaRule, kind: MediaKind) -> bool:
    """Returns whether files of that kind are judged by the rule: of video and audio, only by their size."""
    return rule.understood and (rule.metric == "file_size_mb" or kind in ("image", "any"))


def size_limit(media: MediaInput) -> int | None:
    """Returns the number of bytes up to which a file's size must be known; None where no rule is about it."""
    limits = [rule.value for rule in media.rules if rule.understood and rule.metric == "file_size_mb"]
    return int(max(limits) * _BYTES_PER_MB) + 1 if limits else None


def _measured(metric: str, facts: Facts) -> Fraction | None:
    if metric == "file_size_mb":
        return None if facts.size_bytes is None else Fraction(facts.size_bytes, _BYTES_PER_MB)
    if metric not in METRICS or facts.width is None or facts.height is None:
        return None
    width, height = Fraction(facts.width), Fraction(facts.height)
    return {
        "width_pixels": width,
        "height_pixels": height,
        "shortest_side_pixels": min(width, height),
        "width/height": width / height,
    }[metric]
