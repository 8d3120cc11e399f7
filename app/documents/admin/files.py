"""The store and the life of what is in it, as operators read them."""

from typing import Annotated, TypedDict

from app.documents.schema import keywords


class StoreFault(TypedDict):
    """A row whose bytes are wrong, bytes that have no row, or a sum that is not that of its rows."""

    rule: Annotated[
        str, keywords(enum=["missing", "wrong_size", "wrong_hash", "no_row", "unreadable", "wrong_sum"])
    ]
    subject: Annotated[
        str,
        keywords("The row's id, the key of bytes without a row, or the tenant, mode and holder of a sum."),
    ]
    detail: str


class VerifiedStore(TypedDict):
    """What was compared, and the first thousand faults."""

    rows: int
    stored_bytes: int
    objects: Annotated[int, keywords("How many things there are in the store.")]
    sums: Annotated[int, keywords("How many sums of stored bytes were compared with their rows.")]
    deep: Annotated[bool, keywords("Whether all bytes were read and hashed.")]
    fault_count: int
    faults: list[StoreFault]


class Erased(TypedDict):
    """What an erasure did, and what is left."""

    tenant: str
    end_user: str | None
    requests: Annotated[int, keywords("Whose inputs, outputs and callers were erased now.")]
    assets: Annotated[int, keywords("How many copies are being removed from now on.")]
    files: Annotated[int, keywords("How many uploaded files are being removed from now on.")]
    requests_left: Annotated[int, keywords("Requests that have not ended: repeat the call when they have.")]
    assets_left: Annotated[int, keywords("Copies whose bytes are not deleted yet; servers do that.")]
    files_left: Annotated[int, keywords("Uploaded files that are not deleted yet; servers do that.")]
