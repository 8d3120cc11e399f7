"""Files that are kept, and where."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from app.settings.values import BaseUrl, Room, Seconds, SecretList, TokenText


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
    link_key: SecretList = Field(
        default=[],
        max_length=2,
        description="The key that signs links to files: at least 32 characters, except in development. While"
        " it is replaced, two, separated by a comma: the first signs, links of both are good. Default: made"
        " of PEPPER.",
    )
    max_upload_bytes: int = Field(
        default=2_147_483_648,
        ge=1_000,
        le=5_000_000_000,
        description="The most bytes of one uploaded file.",
    )
    token_upload_bytes: int = Field(
        default=200_000_000,
        ge=0,
        le=999_999_999_999_999,
        description="The most bytes of files that a client token may upload in its life, if its terms say"
        " nothing else.",
    )
    uploads_at_once: int = Field(
        default=32,
        ge=1,
        le=1_000,
        description="The most files that a server receives at a time. A tenant has half of"
        " them, and an end user or a client token an eighth.",
    )
    files_bytes_per_s: int = Field(
        default=200_000_000,
        ge=1_000_000,
        le=100_000_000_000,
        description="The most bytes of files that a server moves in a second, uploads, downloads and copies"
        " together, so that other calls beside them are answered as quickly as ever.",
    )
    upload_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=0,
        description="How long in seconds an uploaded file is kept, if its upload asks for no less; 0: for"
        " ever.",
    )
    files_sent_as: Literal["link", "value"] | None = Field(
        default=None,
        description="How RunComfy gets uploaded files: link, a signed address below PUBLIC_URL, or value, a"
        " data: URI. Default: link where PUBLIC_URL is set.",
    )
    file_link_s: Seconds = Field(
        default=172_800.0,
        ge=60,
        le=604_800,
        description="How long in seconds RunComfy may read an uploaded file by its link.",
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
    bucket_redirects: bool = Field(
        default=True,
        description="Whether readers of files are sent to the bucket itself, by a link that lasts minutes,"
        " rather than through the gateway.",
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
