"""What the checks of `reelgate doctor` found, as operators read it."""

from typing import Annotated, TypedDict

from app.documents.schema import keywords


class Finding(TypedDict):
    """What one check found."""

    name: str
    level: Annotated[str, keywords(enum=["good", "note", "bad"])]
    finding: str


class Findings(TypedDict):
    """What every check found, in the order in which a server meets them when it starts."""

    findings: list[Finding]
