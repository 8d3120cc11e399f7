"""RunComfy's `validations` on media inputs, parsed into rules.

One of them is `{"validation_rule": "file_size_mb<", "validation_value": 4.7, "validation_error": "…"}`.

A rule holds all that is needed to judge a file: a metric, an operator, a number and RunComfy's message.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from app.catalog.findings import Finding, pointer, shown

MediaKind: TypeAlias = Literal["image", "video", "audio", "any"]

# An MB is 1,000,000 bytes of decoded data. Ratios are compared as written: 0.33 is not 1/3.
METRICS: Final = frozenset(
    {"file_size_mb", "width_pixels", "height_pixels", "shortest_side_pixels", "width/height"}
)
OPERATORS: Final = frozenset({"<", "<=", ">", ">="})

# A metric, an operator and, as some files have it, the number once more.
_RULE = re.compile(r"\s*([^<>=!]*[^<>=!\s])\s*([<>=!]+)\s*(\S*)\s*")
_KNOWN_KEYS: Final = frozenset({"validation_rule", "validation_value", "validation_error"})


@dataclass(frozen=True, slots=True)
class MediaRule:
    """One rule on each file of a media input; `pointer` is where it stands in the model's file.

    `understood` is false for an unknown metric or operator: such a rule is listed, but cannot be enforced.
    """

    metric: str
    operator: str
    value: float
    message: str
    rule: str
    pointer: str
    understood: bool


class MalformedRuleError(ValueError):
    """The rule is not of the dialect's form; `finding` says where and why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{finding.pointer}: {finding.reason}")
        self.finding = finding


def parse_rule(document: Any, at: tuple[str | int, ...]) -> tuple[MediaRule, tuple[Finding, ...]]:
    """Parses one element of `validations`, which stands at the path `at`; returns the rule and its warnings.

    Raises:
        MalformedRuleError: the element is not of the dialect's form.

    """
    if not isinstance(document, dict):
        raise _malformed(at, f"must be an object, is {shown(document)}")
    rule: Any = document.get("validation_rule")
    value: Any = document.get("validation_value")
    parsed = _RULE.fullmatch(rule) if isinstance(rule, str) else None
    if parsed is None or not isinstance(rule, str):
        raise _malformed((*at, "validation_rule"), f"must be a metric and an operator, is {shown(rule)}")
    metric, operator = re.sub(r"\s+", "", parsed[1]), parsed[2]
    if not _is_number(value):
        raise _malformed((*at, "validation_value"), f"must be a finite number, is {shown(value)}")
    if parsed[3] and not _is_same_number(parsed[3], value):
        raise _malformed(
            (*at, "validation_rule"), f"its own number is not the validation_value {shown(value)}"
        )
    message = document.get("validation_error")
    if message is not None and not isinstance(message, str):
        raise _malformed((*at, "validation_error"), f"must be a string, is {shown(message)}")
    understood = metric in METRICS and operator in OPERATORS
    findings = [
        Finding(pointer((*at, key)), "is not a part of a rule that the catalogue knows: ignored")
        for key in document
        if key not in _KNOWN_KEYS
    ]
    if not understood:
        unknown = f"metric {shown(metric)}" if metric not in METRICS else f"operator {shown(operator)}"
        findings.append(
            Finding(
                pointer((*at, "validation_rule")), f"has the unknown {unknown}: listed, can never be enforced"
            )
        )
    return (
        MediaRule(
            metric=metric,
            operator=operator,
            value=value,
            message=message or f"{metric} must be {operator} {value}.",
            rule=rule,
            pointer=pointer(at),
            understood=understood,
        ),
        tuple(findings),
    )


def _malformed(at: tuple[str | int, ...], reason: str) -> MalformedRuleError:
    return MalformedRuleError(Finding(pointer(at), reason))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _is_same_number(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False
