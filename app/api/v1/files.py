"""Handlers of uploaded files: uploading, listing, reading, deleting, and links for whoever has no key."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.admin.paging import unknown_cursor
from app.api.bodies import json_response, tagged_response
from app.api.deps import CanAsk, CanRead, Open
from app.api.multipart import AROUND_FILE, Form, MultipartRefused, boundary_of
from app.api.serving import Served, serve
from app.api.v1.usage import next_link
from app.documents.generations import files as documents
from app.errors import (
    HTTP_ERROR,
    INVALID_FORM,
    INVALID_PARAMETER,
    LINK_EXPIRED,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
)
from app.files import links, rows
from app.files.direct import FORM_S
from app.files.links import MAX_LINK_S
from app.files.rows import File
from app.files.uploads import Asked, not_found
from app.gateway import Gateway
from app.kit.clock import iso
from app.kit.ids import is_id
from app.kit.text import is_storable

_FORM: Final = "multipart/form-data"
_MAX_NAME: Final = 200
_MIN_S, _MAX_S = 60, 315_360_000

Name = Annotated[str | None, Query(max_length=_MAX_NAME)]
ModelId = Annotated[str | None, Query(max_length=200)]
Place = Annotated[str | None, Query(max_length=200)]
Seconds = Annotated[int | None, Query(ge=_MIN_S, le=_MAX_S)]
_SECONDS: Final[TypeAdapter[int | None]] = TypeAdapter(Seconds)
_FIELDS: Final = ("name", "model_id", "place", "expires_in_s")


async def upload_file(
    request: Request,
    gateway: Open,
    principal: CanAsk,
    *,
    name: Name = None,
    model_id: ModelId = None,
    place: Place = None,
    expires_in_s: Seconds = None,
) -> Response:
    """Upload a file, as the body itself or in a form. The same content is kept once for each owner."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        detail = f"Content-Encoding {coding[:100]!r} is not supported: send the file as it is."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail, headers={"Connection": "close"})
    chunks, announced = _chunks_of(request), _announced(request)
    asked = Asked(name=_clean(name), model_id=model_id, place=place, expires_in_s=expires_in_s)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        try:
            form = Form(chunks, boundary_of(request.headers["content-type"]))
            await form.open()
            asked = _asked_in(form, asked)
            chunks = form.file()
            announced = None if announced is None else announced - AROUND_FILE
            file, is_new = await gateway.uploads.upload(principal, chunks, asked, announced=announced)
        except MultipartRefused as error:
            raise Problem(INVALID_FORM, str(error), headers={"Connection": "close"}) from None
    else:
        file, is_new = await gateway.uploads.upload(principal, chunks, asked, announced=announced)
    return json_response(documents.uploaded_file(file), status_code=201 if is_new else 200)


async def begin_direct_upload(
    gateway: Open,
    principal: CanAsk,
    *,
    size_bytes: Annotated[int | None, Query(ge=1, le=5_000_000_000)] = None,
    name: Name = None,
    model_id: ModelId = None,
    place: Place = None,
    expires_in_s: Seconds = None,
) -> Response:
    """Begin an upload to the bucket itself: the answer has the form with which the file is sent there."""
    asked = Asked(name=_clean(name), model_id=model_id, place=place, expires_in_s=expires_in_s)
    file, form = await gateway.direct_uploads.begin(
        principal, asked, gateway.settings.max_upload_bytes if size_bytes is None else size_bytes
    )
    document = documents.direct_upload(file, form, file.created_at_ms + FORM_S * 1000)
    return json_response(document, status_code=201)


async def complete_direct_upload(gateway: Open, principal: CanAsk, file_id: str) -> Response:
    """Complete an upload to the bucket: the file is measured and judged, and kept or refused."""
    file, is_new = await gateway.direct_uploads.complete(principal, file_id)
    return json_response(documents.uploaded_file(file), status_code=201 if is_new else 200)


async def list_files(
    request: Request,
    gateway: Open,
    principal: CanRead,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """The files that the caller may use, newest first."""
    if cursor is not None and not is_id(cursor):
        raise unknown_cursor()
    found = await gateway.db.read(
        rows.page, principal, before=cursor, limit=limit + 1, now_ms=gateway.clock.now_ms()
    )
    shown = found[:limit]
    next_cursor = shown[-1].id if len(found) > limit else None
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    document = {"files": [documents.uploaded_file(one) for one in shown], "next_cursor": next_cursor}
    return json_response(document, headers=headers)


async def get_file_facts(request: Request, gateway: Open, principal: CanRead, file_id: str) -> Response:
    """What is known of a file. Its bytes are at its own address."""
    file = await gateway.uploads.find(principal, file_id)
    return tagged_response(request, documents.uploaded_file(file))


async def get_file(request: Request, gateway: Open, principal: CanRead, file_id: str) -> Response:
    """The bytes of a file, whole or in part."""
    return _served(request, gateway, await gateway.uploads.find(principal, file_id))


async def delete_file(gateway: Open, principal: CanAsk, file_id: str) -> Response:
    """Delete a file. Links to it end, and requests that name it can no longer be sent."""
    await gateway.uploads.delete(principal, file_id)
    return Response(status_code=204)


async def create_file_link(
    gateway: Open,
    principal: CanAsk,
    file_id: str,
    *,
    expires_in_s: Annotated[int, Query(ge=_MIN_S, le=MAX_LINK_S)] = 3600,
) -> Response:
    """Make a link at which anybody may read a file, without a key, for a week at most."""
    file = await gateway.uploads.find(principal, file_id)
    expires_s = gateway.clock.now_ms() // 1000 + expires_in_s
    document = {"url": gateway.file_links.url(file, expires_s=expires_s), "expires_at": iso(expires_s * 1000)}
    return json_response(document, status_code=201)


async def get_linked_file(request: Request, gateway: Open, link: str) -> Response:
    """The file of a link, whole or in part. No key is needed."""
    presented = links.parse(link)
    file = None if presented is None else await gateway.db.read(rows.find, presented.row_id)
    if presented is None or file is None or not file.is_there(gateway.clock.now_ms()):
        raise not_found()
    if not gateway.file_links.links.is_good(presented, "files", file.tenant_id):
        raise not_found()
    if presented.expires_s * 1000 <= gateway.clock.now_ms():
        raise Problem(LINK_EXPIRED, f"This link ended at {iso(presented.expires_s * 1000)}.")
    return _served(request, gateway, file, to_anybody=True)


def _served(request: Request, gateway: Gateway, file: File, *, to_anybody: bool = False) -> Response:
    served = Served(
        key=file.key,
        size_bytes=file.bytes,
        sha256=file.sha256,
        media_type=file.type,
        name=file.name or file.id,
        to_anybody=to_anybody,
    )
    return serve(request, gateway.storage, served, redirects=gateway.settings.bucket_redirects)


async def _chunks_of(request: Request) -> AsyncIterator[bytes | memoryview]:
    try:
        async with aclosing(request.stream()) as stream:
            async for chunk in stream:
                yield chunk
    except ClientDisconnect as error:
        raise Problem(HTTP_ERROR, "The connection was closed before the file was complete.") from error


def _announced(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length[:19]) if length.isascii() and length.isdigit() else None


def _asked_in(form: Form, asked: Asked) -> Asked:
    """Returns what the fields of a form ask for; the query stands in where there is no field."""
    if unknown := sorted(form.fields.keys() - set(_FIELDS)):
        raise MultipartRefused(f"{unknown[0][:100]!r} is no field of this form: {', '.join(_FIELDS)}, file.")
    said: dict[str, Any] = dict(form.fields)
    if "expires_in_s" in said:
        try:
            said["expires_in_s"] = _SECONDS.validate_strings(said["expires_in_s"])
        except ValidationError:
            detail = f"is not a number of seconds from {_MIN_S} to {_MAX_S}"
            raise Problem(
                INVALID_PARAMETER,
                f"`expires_in_s` {detail}.",
                errors=[FieldError("#/form/expires_in_s", "range", detail)],
            ) from None
    for name in ("model_id", "place"):
        if len(said.get(name, "")) > _MAX_NAME:
            raise MultipartRefused(f"The field `{name}` has more than {_MAX_NAME} characters.")
    return Asked(
        name=_clean(said.get("name") or asked.name or form.file_name),
        model_id=said.get("model_id", asked.model_id),
        place=said.get("place", asked.place),
        expires_in_s=said.get("expires_in_s", asked.expires_in_s),
    )


def _clean(name: str | None) -> str | None:
    """Returns a file's name without folders and without what cannot be stored or shown."""
    if name is None:
        return None
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(one for one in last if one.isprintable()).strip()[:_MAX_NAME]
    return kept if kept and is_storable(kept) else None
