"""Files that are kept, and where."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from app.settings.values import BaseUrl, Room, TokenText


class FileSettings(Room):
    """Files that are kept, and where."""

    storage: Literal["disk", "s3"] = Field(
        default="disk",
        description="Where uploaded files and copies of outputs are kept: disk (FILES_DIR), or s3. See"
        " [files](files.md).",
    )
    files_dir: Path | None = Field(
        default=None,
        description="The folder of files that are kept, and of those that are being received. Default:"
        " DATA_DIR/files.",
    )
    bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="The bucket, if STORAGE is s3.",
    )
    bucket_endpoint: BaseUrl | None = Field(
        default=None,
        description="The address of the S3 server as the gateway reaches it. Default: that of AWS in"
        " BUCKET_REGION.",
    )
    bucket_public_endpoint: BaseUrl | None = Field(
        default=None,
        description="The address of the S3 server as browsers reach it. Default: BUCKET_ENDPOINT.",
    )
    bucket_region: str = Field(
        default="us-east-1", pattern=r"^[A-Za-z0-9-]{1,40}$", description="The region of the bucket."
    )
    bucket_in_path: bool = Field(
        default=True,
        description="Whether the bucket stands in the path of an address, rather than before the server's"
        " name.",
    )
    bucket_prefix: str = Field(
        default="",
        pattern=r"^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/){0,8}$",
        description="What every key in the bucket begins with: empty, or a path with a slash at its end.",
    )
    bucket_key_id: str | None = Field(
        default=None, pattern=r"^[!-~]{1,128}$", description="The id of the access key for the bucket."
    )
    bucket_secret: TokenText | None = Field(
        default=None, description="The secret of the access key for the bucket."
    )
    bucket_session_token: TokenText | None = Field(
        default=None, description="The session token, where the access key is a temporary one."
    )
