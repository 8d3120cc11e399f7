"""Assets: the files of a request's output that the gateway copies into its own store."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.db.schema.asset_states import AssetState
from app.documents.fields import Id, Moment, Url, iso_or_none
from app.documents.schema import keywords
from app.mirror import rows

AssetId = Annotated[str, keywords("The asset's id.", pattern="^ast_[0-9a-f-]{36}$")]
Pointer = Annotated[str, keywords("The file's place in `output`, as a JSON pointer such as `/videos/0`.")]
Sha256 = Annotated[str | None, keywords("Of its bytes, in hexadecimal; null: there is no copy yet.")]


class Asset(TypedDict):
    """A file of a request's output, and its copy."""

    asset_id: AssetId
    request_id: Id
    pointer: Pointer
    state: Annotated[
        AssetState,
        keywords(
            "`pending` and `copying` end as `stored`, as `failed` (it is no picture or video, or too large)"
            " or as `gone` (RunComfy's link ended before); a stored copy ends as `expired`."
        ),
    ]
    error: Annotated[
        str | None, keywords("Why the last attempt to copy it failed, as a class such as `status_404`.")
    ]
    attempts: Annotated[int, keywords("How many attempts to copy it have begun.")]
    next_attempt_at: Annotated[Moment | None, keywords("When it is copied again, while it is `pending`.")]
    media_type: Annotated[str | None, keywords("By its bytes, whatever RunComfy called it.")]
    size_bytes: int | None
    sha256: Sha256
    stored_at: Moment | None
    expires_at: Annotated[Moment | None, keywords("When the copy is removed; null: never, or there is none.")]
    url: Annotated[
        Url | None,
        keywords("Where the copy is served to whoever may read the request; null: it is not served."),
    ]


def asset(one: rows.Asset, base_url: str) -> Asset:
    """Returns the document of an asset."""
    return {
        "asset_id": one.id,
        "request_id": one.generation_id,
        "pointer": one.pointer,
        "state": AssetState.EXPIRED if one.removing_at_ms is not None else one.state,
        "error": one.last_error,
        "attempts": one.attempts,
        "next_attempt_at": iso_or_none(one.next_at_ms if one.state is AssetState.PENDING else None),
        "media_type": one.media_type,
        "size_bytes": one.size_bytes,
        "sha256": one.sha256,
        "stored_at": iso_or_none(one.stored_at_ms),
        "expires_at": iso_or_none(one.expires_at_ms),
        "url": f"{base_url}/v1/assets/{one.id}" if one.is_served else None,
    }


class AssetList(TypedDict):
    """The assets of a request, in the order of its output."""

    assets: list[Asset]


def asset_list(found: Sequence[rows.Asset], base_url: str) -> AssetList:
    """Returns the document of a request's assets."""
    return {"assets": [asset(one, base_url) for one in found]}
