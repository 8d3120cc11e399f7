"""Reelgate from Python: submit a paid media job once, follow it, get its file.

`Reelgate` is for threads, `AsyncReelgate` for loops; both have the same methods. They also call RunComfy's
own API, as far as that goes. Every failure is a `ReelgateError`.
"""

from reelgate_client._async.client import AsyncHandle, AsyncReelgate
from reelgate_client._download import Downloaded, files_of
from reelgate_client._progress import Progress
from reelgate_client._retry import Retries
from reelgate_client._sync.client import Handle, Reelgate
from reelgate_client.errors import (
    AuthenticationFailed,
    BadRequest,
    Conflict,
    DownloadFailed,
    InvalidInput,
    InvalidWebhook,
    LimitReached,
    NoGateway,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    PictureRefused,
    ReelgateError,
    Refused,
    RequestCancelled,
    RequestFailed,
    Unavailable,
    Unreachable,
    WaitTimeout,
)

__version__ = "0.1.0"

__all__ = [
    "AsyncHandle",
    "AsyncReelgate",
    "AuthenticationFailed",
    "BadRequest",
    "Conflict",
    "DownloadFailed",
    "Downloaded",
    "Handle",
    "InvalidInput",
    "InvalidWebhook",
    "LimitReached",
    "NoGateway",
    "NotFound",
    "OutcomeUnknown",
    "PermissionDenied",
    "PictureRefused",
    "Progress",
    "Reelgate",
    "ReelgateError",
    "Refused",
    "RequestCancelled",
    "RequestFailed",
    "Retries",
    "Unavailable",
    "Unreachable",
    "WaitTimeout",
    "files_of",
]
