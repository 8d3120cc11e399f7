"""The client: one method for each thing that a caller wants."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx2

from reelgate_client import pictures
from reelgate_client._async.calls import AsyncCalls
from reelgate_client._async.downloads import download
from reelgate_client._async.following import AsyncFollower
from reelgate_client._async.uploads import chunks_of
from reelgate_client._download import Downloaded, Partial, target_of, url_in
from reelgate_client._primitives_async import despite_cancellation, in_thread
from reelgate_client._progress import OnProgress, Progress
from reelgate_client._retry import Retries
from reelgate_client._wire import Call, base_of, key_of, moment, params_of, path_of
from reelgate_client.errors import NoGateway, ReelgateError, RequestCancelled, RequestFailed, WaitTimeout
from reelgate_client.types import (
    Cancelled,
    ClientTokenInFull,
    ClientTokenPage,
    Event,
    MintedClientToken,
    Model,
    ModelPage,
    Quota,
    Quote,
    Request,
    RequestPage,
    Result,
    Status,
    Submitted,
    UploadedFile,
    Usage,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_CANCELLED = {"cancelled", "canceled", "expired"}
_LAST_WORDS_S = 10.0
_UPLOAD_S = 600.0  # of silence, while the gateway passes a file on to its store


class AsyncHandle:
    """A request that was submitted, by its `id`. Nothing was waited for yet."""

    def __init__(self, client: AsyncReelgate, submitted: Submitted) -> None:
        self._client = client
        self.id: str = submitted["request_id"]
        self.submitted = submitted
        """What the submit answered."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    async def wait(
        self,
        on_progress: OnProgress | None = None,
        *,
        timeout_s: float | None = None,
        cancel_on_abandon: bool = False,
    ) -> Result:
        """Waits for the end; see `AsyncReelgate.wait`."""
        return await self._client.wait(
            self.id, on_progress, timeout_s=timeout_s, cancel_on_abandon=cancel_on_abandon
        )

    def events(self, *, after: int = 0, timeout_s: float | None = None) -> AsyncGenerator[Event]:
        """Yields every change once; see `AsyncReelgate.events`."""
        return self._client.events(self.id, after=after, timeout_s=timeout_s)

    async def status(self) -> Status:
        """Returns its status now."""
        return await self._client.status(self.id)

    async def result(self, *, include_cost: bool = False) -> Result:
        """Returns its result, which may have no output yet."""
        return await self._client.result(self.id, include_cost=include_cost)

    async def record(self) -> Request:
        """Returns the gateway's full record of it."""
        return await self._client.record(self.id)

    async def cancel(self, *, strict: bool = False) -> Cancelled:
        """Cancels it; see `AsyncReelgate.cancel`."""
        return await self._client.cancel(self.id, strict=strict)


class AsyncReelgate:
    """A gateway, and the key with which it is called. Close it, or use it as a context manager.

    Args:
        api_key: an API key or client token; by default `REELGATE_KEY` of the environment.
        base_url: the gateway's address, or RunComfy's own; by default `REELGATE_URL` of the environment.
        timeout_s: seconds of silence after which a call has failed.
        retries: how often and how long a call is made again that can be repeated safely.
        http: an `httpx2.AsyncClient` of your own, for proxies and certificates; you close it yourself.

    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: Retries | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        address, key = base_of(base_url), key_of(api_key)
        self._own = httpx2.AsyncClient() if http is None else None
        self._http = http or cast("httpx2.AsyncClient", self._own)
        self._calls = AsyncCalls(address, key, self._http, retries or Retries(), timeout_s)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._calls.base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        if self._own is not None:
            await self._own.aclose()

    async def submit(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002 - what the API calls it
        *,
        idempotency_key: str | None = None,
        start_deadline: float | datetime | None = None,
    ) -> AsyncHandle:
        """Submits once, however often the network fails: all tries carry one `Idempotency-Key`.

        Args:
            model: the id of the model.
            input: the flat object that the model's schema describes.
            idempotency_key: your own name for this submit, by which it stays one also after a crash of yours.
            start_deadline: the moment, or seconds, after which it is cancelled if it has not started.

        Raises:
            InvalidInput: `errors` names every violation; nothing was charged.
            LimitReached: a quota refuses it, and waiting for it would take too long.
            OutcomeUnknown: it may have been accepted. Do not submit it again; follow `request_id`.
            ReelgateError: any other failure: no request was made that you do not know of.

        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if start_deadline is not None:
            at = start_deadline
            headers["Reelgate-Start-Deadline"] = moment(at) if isinstance(at, datetime) else f"{at:.0f}"
        call = Call(
            "POST",
            path_of("models", model),
            headers=headers,
            document=dict(input),
            is_harmless=False,
            is_keyed=True,
        )
        return AsyncHandle(self, await self._calls.document(call))

    def handle(self, request_id: str) -> AsyncHandle:
        """Returns a request that was submitted before, such as by a process that has ended."""
        base = f"{self._calls.base_url}{path_of('requests', request_id)}"
        return AsyncHandle(
            self,
            {
                "request_id": request_id,
                "status_url": f"{base}/status",
                "result_url": f"{base}/result",
                "cancel_url": f"{base}/cancel",
            },
        )

    async def run(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002 - what the API calls it
        *,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        start_deadline: float | datetime | None = None,
        timeout_s: float | None = None,
        cancel_on_abandon: bool = False,
    ) -> Result:
        """Submits, follows to the end, and returns the result, which has an output.

        `on_progress` is called first when the request is accepted, with its id. See `submit` and `wait`.
        """
        handle = await self.submit(
            model, input, idempotency_key=idempotency_key, start_deadline=start_deadline
        )
        if on_progress is not None:
            on_progress(Progress(handle.id, "accepted", "in_queue", None, 0.0, final=False))
        return await handle.wait(on_progress, timeout_s=timeout_s, cancel_on_abandon=cancel_on_abandon)

    async def wait(
        self,
        request_id: str,
        on_progress: OnProgress | None = None,
        *,
        timeout_s: float | None = None,
        cancel_on_abandon: bool = False,
    ) -> Result:
        """Follows a request to its end, and returns its result.

        Args:
            request_id: the request.
            on_progress: called for every change, in order, and for every new position in the queue.
            timeout_s: seconds after which the waiting ends with a `WaitTimeout`.
            cancel_on_abandon: whether the request is cancelled when the waiting ends before it does: by a
                timeout, an exception of `on_progress`, or because this task is cancelled. By default it
                goes on.

        Raises:
            RequestFailed: it ended without an output; `RequestCancelled` where it was cancelled or expired.
            WaitTimeout: it had not ended in time.

        """
        try:
            return await self._waited(request_id, on_progress, timeout_s)
        except BaseException as error:
            is_abandoned = not isinstance(error, ReelgateError) or isinstance(error, WaitTimeout)
            if cancel_on_abandon and is_abandoned:
                await despite_cancellation(lambda: self._cancel_quietly(request_id), _LAST_WORDS_S)
            raise

    async def _waited(
        self, request_id: str, on_progress: OnProgress | None, timeout_s: float | None
    ) -> Result:
        began_s = time.monotonic()
        until_s = None if timeout_s is None else began_s + timeout_s
        follower = AsyncFollower(self._calls, request_id, until_s=until_s)
        state = ""
        async with aclosing(follower.updates()) as updates:
            async for one in updates:
                state = one.state
                if on_progress is not None:
                    elapsed_s = time.monotonic() - began_s
                    on_progress(Progress(request_id, state, one.status, one.position, elapsed_s, one.final))
        result = await self._result(request_id, retries=self._calls.retries.patient())
        if result["status"] == "succeeded":
            return result
        is_cancelled = state in _CANCELLED or result["status"] in _CANCELLED
        raise (RequestCancelled if is_cancelled else RequestFailed)(result, state=state)

    async def _cancel_quietly(self, request_id: str) -> None:
        try:
            await self.cancel(request_id)
        except ReelgateError:
            return  # what ended the waiting is what the caller is told

    async def events(
        self, request_id: str, *, after: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[Event]:
        """Yields every change of a request, once and in order, to the last one; reconnects at need.

        `after` is the `version` of the last event that you know. RunComfy itself has no events.

        Raises:
            WaitTimeout: the last event had not come within `timeout_s` seconds.

        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        follower = AsyncFollower(self._calls, request_id, after=after, until_s=until_s)
        async with aclosing(follower.updates()) as updates:
            async for one in updates:
                if not self._calls.is_gateway:
                    raise NoGateway(
                        {"detail": "This server has no events; use wait().", "request_id": request_id}
                    )
                if one.event is not None:
                    yield one.event

    async def status(self, request_id: str) -> Status:
        """Returns the status of a request.

        `completed` means finished: the result says whether it succeeded.
        """
        return cast("Status", await self._get("requests", request_id, "status", request_id=request_id))

    async def result(self, request_id: str, *, include_cost: bool = False) -> Result:
        """Returns the result of a request, which may have no output yet."""
        return await self._result(request_id, include_cost=include_cost or None)

    async def record(self, request_id: str) -> Request:
        """Returns the gateway's full record of a request: input, output, price and every change."""
        return cast("Request", await self._get("requests", request_id, request_id=request_id))

    async def requests(self, **filters: Any) -> RequestPage:
        """Returns a page of requests, newest first.

        Filters: `limit`, `cursor`, `state`, `model_id`, `end_user`, `token_id`, `created_after`,
        `created_before`.
        """
        return cast("RequestPage", await self._get("requests", params=filters))

    async def cancel(self, request_id: str, *, strict: bool = False) -> Cancelled:
        """Cancels a request if that is still possible: `outcome` says so.

        With `strict`, one that cannot be cancelled any more raises `Conflict`.
        """
        headers = {"Prefer": "handling=strict"} if strict else {}
        call = Call("POST", path_of("requests", request_id, "cancel"), headers=headers, request_id=request_id)
        return cast("Cancelled", await self._calls.document(call))

    async def quote(self, model: str, input: Mapping[str, Any]) -> Quote:  # noqa: A002 - what the API calls it
        """Returns what a submit would cost, what is wrong with it, and which limits would refuse it."""
        return cast(
            "Quote", await self._calls.document(Call("POST", path_of("quotes", model), document=dict(input)))
        )

    async def quota(self) -> Quota:
        """Returns every limit of the key and its tenant, and how it stands."""
        return cast("Quota", await self._get("quota"))

    async def usage(self, **params: Any) -> Usage:
        """Returns usage: `from_`, `to`, `by` (hour, day, month), `group_by`, and filters."""
        return cast("Usage", await self._get("usage", params=params))

    async def models(self, **params: Any) -> ModelPage:
        """Returns the catalogue: `search`, `category`, `kind`, `include_schema`, `limit`, `offset`."""
        return cast("ModelPage", await self._get("models", params=params))

    async def model(self, model: str) -> Model:
        """Returns one model: its schema, price and media rules."""
        return cast("Model", await self._get("models", model))

    async def create_client_token(self, **terms: Any) -> MintedClientToken:
        """Creates a token for a web page, in place of a key.

        Terms: `lifetime_s`, `models`, `bounds`, `max_generations`, `max_microcredits`, `origins`, `end_user`,
        `visibility`, `request_id`. It is not repeated where the answer may be lost: nobody knows that token
        then, and it ends by itself.
        """
        document = {name: value for name, value in terms.items() if value is not None}
        call = Call("POST", "/v1/client-tokens", document=document, is_harmless=False)
        return cast("MintedClientToken", await self._calls.document(call))

    async def client_tokens(self, **params: Any) -> ClientTokenPage:
        """Returns a page of client tokens, newest first: `limit`, `cursor`, `end_user`."""
        return cast("ClientTokenPage", await self._get("client-tokens", params=params))

    async def client_token(self, token_id: str) -> ClientTokenInFull:
        """Returns everything about a client token but the token itself."""
        return cast("ClientTokenInFull", await self._get("client-tokens", token_id))

    async def revoke_client_token(self, token_id: str) -> ClientTokenInFull:
        """Ends a client token; the requests that it made go on."""
        call = Call("POST", path_of("client-tokens", token_id, "revoke"))
        return cast("ClientTokenInFull", await self._calls.document(call))

    async def upload(
        self,
        picture: str | os.PathLike[str] | bytes,
        *,
        shrink_for: str | None = None,
        pointer: str | None = None,
    ) -> str:
        """Returns a local picture as a `data:` URI, to be put into an input: it is sent with the submit.

        With `shrink_for`, the id of a model, a picture that is larger than the model's rules allow is made
        smaller first. `pointer` names the input (`/image_urls/*`) where a model has several with different
        rules.

        Raises:
            PictureRefused: it is no picture, or cannot be made to fit.

        """
        content = await in_thread(pictures.read, picture if isinstance(picture, bytes) else Path(picture))
        if shrink_for is not None:
            model = await self.model(shrink_for)
            room = pictures.room_of(model.get("media_rules", []), pointer)
            content = await in_thread(pictures.shrunk, content, room)
        return pictures.data_uri(content)

    async def upload_file(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        model: str | None = None,
        place: str | None = None,
        name: str | None = None,
        expires_in_s: int | None = None,
        on_bytes: Callable[[int, int], object] | None = None,
    ) -> UploadedFile:
        """Uploads a file to the gateway, read as it is sent; its `reference` stands in an input for a URL.

        The same content is kept once, so repeating it is harmless; what broke off is begun anew.

        Args:
            source: a path, or the bytes themselves.
            model: the id of the model whose media rules the file must meet before it is kept.
            place: the input that it is for (`/image_urls/*`), where a model has several.
            name: what it is called; by default as its path.
            expires_in_s: for how many seconds it is kept, if that is less than the gateway's own limit.
            on_bytes: called with how many bytes were sent, and of how many.

        Raises:
            ReelgateError: `invalid_file` names what is wrong with it; `quota_exhausted`, and others.

        """
        path = None if isinstance(source, bytes) else Path(source)
        size = len(source) if isinstance(source, bytes) else (await in_thread(Path(source).stat)).st_size
        content = source if isinstance(source, bytes) else Path(source)
        named = name or (None if path is None else path.name)
        call = Call(
            "POST",
            path_of("files"),
            params=params_of(
                {"name": named, "model_id": model, "place": place, "expires_in_s": expires_in_s}
            ),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            timeout_s=_UPLOAD_S,
            content=lambda: chunks_of(content, size, on_bytes),
        )
        return cast("UploadedFile", await self._calls.document(call))

    async def delete_file(self, file_id: str) -> None:
        """Deletes an uploaded file. Requests that name it can no longer be sent."""
        await self._calls.answer(Call("DELETE", path_of("files", file_id)))

    async def download(
        self,
        source: Mapping[str, Any] | str,
        path: str | os.PathLike[str] | None = None,
        *,
        sha256: str | None = None,
        on_bytes: Callable[[int, int | None], object] | None = None,
    ) -> Downloaded:
        """Downloads a file of a result, or a URL; goes on where an earlier download broke off.

        The file appears in its place only when it is whole: its length is what the server announced, and its
        hash is `sha256`, or what the server announced. The API key is never sent there.

        Args:
            source: a result with one file, or a URL.
            path: a file, or a folder that exists; by default the URL's own name in the current folder.
            sha256: the hash that the file must have, in hexadecimal.
            on_bytes: called with how many bytes are there, and of how many.

        Raises:
            DownloadFailed: it could not be had; what is there is kept beside, as `NAME.part`.

        """
        url = url_in(source)
        target = target_of(url, None if path is None else Path(path))
        part = await in_thread(Partial, target, url)
        return await download(
            self._http, url, part, retries=self._calls.retries, sha256=sha256, on_bytes=on_bytes
        )

    async def _result(
        self, request_id: str, *, include_cost: bool | None = None, retries: Retries | None = None
    ) -> Result:
        params = params_of({"include_cost": include_cost})
        call = Call("GET", path_of("requests", request_id, "result"), params=params, request_id=request_id)
        return cast("Result", await self._calls.document(call, retries=retries))

    async def _get(
        self, *segments: str, params: dict[str, Any] | None = None, request_id: str | None = None
    ) -> Any:
        call = Call("GET", path_of(*segments), params=params_of(params or {}), request_id=request_id)
        return await self._calls.document(call)
