"""Handlers of assets: the copies of outputs, in the gateway's own store."""

from typing import Annotated, Final

from fastapi import Query, Request
from starlette.responses import Response

from app.api.bodies import json_response, tagged_response
from app.api.deps import CanAsk, CanSee, Open
from app.api.serving import Served, serve
from app.api.v1.requests import copies_of, own
from app.auth.principal import Principal
from app.db.schema.asset_states import AssetState, Removal
from app.documents.generations import assets as documents
from app.errors import ASSET_GONE, ASSET_NOT_FOUND, ASSET_NOT_STORED, LINK_EXPIRED, Problem
from app.files import links
from app.files.links import MAX_LINK_S
from app.gateway import Gateway
from app.generations import store, visibility
from app.kit.clock import iso
from app.mirror import rows, sweeper
from app.mirror.rows import Asset, Copied

_ENDINGS: Final = {
    "image/avif": ".avif",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
}


async def list_assets(gateway: Open, principal: CanSee, request_id: str) -> Response:
    """The files of a request's output that are copied to the gateway's store, in the order of the output."""
    generation = await own(gateway, principal, request_id)
    return json_response(documents.asset_list(await copies_of(gateway, generation), gateway.base_url))


async def get_asset_facts(request: Request, gateway: Open, principal: CanSee, asset_id: str) -> Response:
    """What is known of an asset. Its bytes are at its own address."""
    asset = await own_asset(gateway, principal, asset_id)
    return tagged_response(request, documents.asset(asset, gateway.base_url))


async def get_asset(request: Request, gateway: Open, principal: CanSee, asset_id: str) -> Response:
    """The bytes of the copy of an output's file, whole or in part."""
    return _served(request, gateway, await own_asset(gateway, principal, asset_id))


async def delete_asset(gateway: Open, principal: CanAsk, asset_id: str) -> Response:
    """Delete the copy of an output's file, or have none made. RunComfy's own file is not touched."""
    asset = await own_asset(gateway, principal, asset_id)
    now_ms = gateway.clock.now_ms()
    await gateway.db.write_for(asset.tenant_id, sweeper.mark, asset.id, Removal.DELETED, now_ms=now_ms)
    marked = await gateway.db.read(rows.find, asset.id)
    if marked is not None and marked.removing_at_ms is not None and marked.finished_at_ms is None:
        await gateway.upkeep.sweeper.remove(marked)
    return Response(status_code=204)


async def create_asset_link(
    gateway: Open,
    principal: CanAsk,
    asset_id: str,
    *,
    expires_in_s: Annotated[int, Query(ge=60, le=MAX_LINK_S)] = 3600,
) -> Response:
    """Make a link at which anybody may read the copy of an output's file, for a week at most."""
    asset = await own_asset(gateway, principal, asset_id)
    _check_stored(asset)
    expires_s = gateway.clock.now_ms() // 1000 + expires_in_s
    document = {"url": gateway.asset_link(asset, expires_s=expires_s), "expires_at": iso(expires_s * 1000)}
    return json_response(document, status_code=201)


async def get_linked_asset(request: Request, gateway: Open, link: str) -> Response:
    """The copy of a link, whole or in part. No key is needed."""
    presented, now_ms = links.parse(link), gateway.clock.now_ms()
    asset = None
    if presented is not None:
        asset = await gateway.db.read(rows.find, rows.ASSET + presented.row_id)
    if presented is None or asset is None:
        raise _not_found()
    if not gateway.file_links.links.is_good(presented, "assets", asset.tenant_id):
        raise _not_found()
    if presented.expires_s * 1000 <= now_ms:
        raise Problem(LINK_EXPIRED, f"This link ended at {iso(presented.expires_s * 1000)}.")
    return _served(request, gateway, asset, to_anybody=True)


def _served(request: Request, gateway: Gateway, asset: Asset, *, to_anybody: bool = False) -> Response:
    stored = _check_stored(asset)
    served = Served(
        key=stored.storage_key,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        media_type=stored.media_type,
        name=f"{asset.id}{_ENDINGS.get(stored.media_type, '')}",
        to_anybody=to_anybody,
    )
    return serve(request, gateway.storage, served, redirects=gateway.settings.bucket_redirects)


def _check_stored(asset: Asset) -> Copied:
    """Returns what is stored of an asset.

    Raises:
        Problem: ASSET_NOT_STORED, ASSET_GONE.

    """
    copied = asset.copied
    if copied is not None:
        return copied
    if asset.removing_at_ms is None and asset.finished_at_ms is None:
        retry_after_s = max(1, (asset.next_at_ms - asset.created_at_ms) // 1000) if asset.attempts else 1
        raise Problem(ASSET_NOT_STORED, f"The asset is {asset.state}.", retry_after_s=min(retry_after_s, 60))
    state = AssetState.EXPIRED if asset.removing_at_ms is not None else asset.state
    raise Problem(ASSET_GONE, f"The asset is {state}.")


async def own_asset(gateway: Gateway, principal: Principal, asset_id: str) -> Asset:
    """Returns the tenant's asset with this id, if its request is visible to the principal.

    Raises:
        Problem: ASSET_NOT_FOUND, in the same words whatever the reason.

    """
    asset = await gateway.db.read(rows.find, asset_id) if rows.is_asset_id(asset_id) else None
    if asset is not None and asset.tenant_id == principal.tenant_id:
        generation = await gateway.db.read(store.find, asset.generation_id, principal.tenant_id)
        if generation is not None and visibility.is_visible(principal, generation):
            return asset
    raise _not_found()


def _not_found() -> Problem:
    return Problem(ASSET_NOT_FOUND, "There is no such asset for this caller.")
