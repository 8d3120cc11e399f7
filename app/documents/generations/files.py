"""Uploaded files, as their owners read them."""

from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.documents.fields import Moment, Url, iso_or_none
from app.documents.schema import keywords
from app.files.rows import File
from app.kit.clock import iso
from app.media.references import reference_to
from app.storage.store import Post

FileId = Annotated[str, keywords("The id of an uploaded file, a UUIDv7.", format="uuid")]


class UploadedFile(TypedDict):
    """A file that was uploaded, with what its bytes tell."""

    file_id: FileId
    reference: Annotated[
        str, keywords("What an input has in place of the file's URL: `rg-file:` and the id.")
    ]
    mode: Mode
    name: Annotated[str | None, keywords("What its sender called it.")]
    model_id: Annotated[str | None, keywords("The model whose rules it was judged by; null: none.")]
    type: Annotated[str, keywords("Its media type, by its bytes.")]
    bytes: int
    width: Annotated[int | None, keywords("In pixels, of a picture; null where it is not known.")]
    height: Annotated[int | None, keywords("In pixels, as `width`.")]
    sha256: Annotated[str, keywords("The SHA-256 of its bytes, in hex; also its entity tag.")]
    end_user: Annotated[str | None, keywords("The end user whose client token uploaded it.")]
    created_at: Moment
    expires_at: Annotated[Moment | None, keywords("When it is deleted; null: never.")]


class UploadedFilePage(TypedDict):
    """A page of uploaded files, newest first."""

    files: list[UploadedFile]
    next_cursor: str | None


class DirectUpload(TypedDict):
    """A form with which a file is sent to the bucket itself."""

    file_id: FileId
    url: Annotated[Url, keywords("Where the form is sent, by POST, as `multipart/form-data`.")]
    fields: Annotated[dict[str, str], keywords("Its fields, which stand before the field `file`.")]
    expires_at: Moment


class FileLink(TypedDict):
    """An address at which anybody may read a file until a moment."""

    url: Url
    expires_at: Moment


def direct_upload(file: File, form: Post, expires_at_ms: int) -> DirectUpload:
    """Returns the form of a direct upload."""
    return {
        "file_id": file.id,
        "url": form.url,
        "fields": dict(form.fields),
        "expires_at": iso(expires_at_ms),
    }


def uploaded_file(file: File) -> UploadedFile:
    """Returns an uploaded file."""
    return {
        "file_id": file.id,
        "reference": reference_to(file.id),
        "mode": file.mode,
        "name": file.name,
        "model_id": file.model_id,
        "type": file.type,
        "bytes": file.bytes,
        "width": file.width,
        "height": file.height,
        "sha256": file.sha256,
        "end_user": file.end_user,
        "created_at": iso(file.created_at_ms),
        "expires_at": iso_or_none(file.expires_at_ms),
    }
