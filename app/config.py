"""Settings, which are read when a process starts: from the environment, `.env`, or files.

A variable of the environment wins over `.env`, that over the file that a `…_FILE` names, and that over the
settings file (`app.settings_file`).

`docs/settings.md` lists the same fields; a test compares the two.
"""

import base64
import binascii
import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app import database_url, settings_file
from app.setting_texts import (
    MIN_PEPPER_CHARACTERS,
    check_proxy,
    fault_of_text,
    has_good_port,
    is_this_machine,
    netloc,
    reachable,
    weak,
)

PREFIX = "REELGATE_"
_PERCENTAGES = range(1, 101)
_TEN_YEARS_S = 315_360_000
_HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_ADMIN_SCOPES = ("read", "operate", "money", "root")  # as `auth.admin_keys` has them
_BRACKETS = re.compile(r"\[[^\[\]]+\]")
DEMO_SANDBOX_TOKEN = "sandbox-demo-token"  # noqa: S105 - gives access to the sandbox alone


RELOADED = frozenset({"upstream_token", "upstream_credentials", "default_limits", "log_level"})
"""The settings that a running process takes over from a reload."""
FROM_FILES = (
    "pepper",
    "upstream_token",
    "upstream_credentials",
    "upstream_proxy",
    "sandbox_token",
    "database_url",
    "metrics_token",
    "webhook_key",
    "operator_webhook_secret",
    "oidc_client_secret",
)


class SettingsError(ValueError):
    """The settings do not allow what is asked for, such as a start; the message says what to change."""


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _ten_years_at_most(value: float) -> float:
    if not value <= _TEN_YEARS_S:  # also false for NaN
        raise ValueError(f"must be at most {_TEN_YEARS_S} seconds, ten years")
    return value


CommaList = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Seconds = Annotated[float, AfterValidator(_ten_years_at_most)]
SecretList = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split)]


class CredentialSettings(BaseModel):
    """One of several credentials for RunComfy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")
    token: SecretStr = Field(min_length=1)
    weight: int = Field(default=1, ge=1, le=1000)
    concurrency: int | None = Field(default=None, ge=1, le=1_000_000)


_CREDENTIALS = TypeAdapter(list[CredentialSettings])


class Settings(BaseSettings):
    """All settings of the operator; their variables have the prefix `REELGATE_`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", env_ignore_empty=True, frozen=True
    )

    environment: Literal["development", "production"] = Field(
        default="production",
        description="production, or development, which makes its own pepper and logs for people.",
    )
    host: str = Field(default="127.0.0.1", description="The address that the gateway listens on.")
    port: int = Field(default=8700, ge=1, le=65535, description="The port that the gateway listens on.")
    worker_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="The port on which `reelgate worker` answers /livez, /readyz and /metrics. Unset, it"
        " listens nowhere.",
    )
    admin_api: bool = Field(
        default=False,
        description="Whether servers serve the admin API, /admin/v1, for admin keys. See"
        " [administration](administration.md).",
    )
    admin_host: str | None = Field(
        default=None,
        description="The address that the admin API listens on, where ADMIN_PORT is set. Default: HOST.",
    )
    admin_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="A port of its own for the admin API, which PORT does not serve then. Unset, PORT serves"
        " it too.",
    )
    console: bool = Field(
        default=False,
        description="Whether the admin API's port also serves the operators' console, /console. See"
        " [the console](console.md).",
    )
    portal: bool = Field(
        default=False,
        description="Whether PORT also serves the portal for people of tenants, /portal. See"
        " [the console](console.md#the-portal).",
    )
    console_url: str | None = Field(
        default=None,
        description="The address at which browsers reach the console, without /console: OpenID Connect sends"
        " them back there. Default: PUBLIC_URL, or http://localhost:ADMIN_PORT where that is set.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="The issuer of the OpenID provider by which operators sign in to the console, exactly as"
        " its discovery document has it. See [signing in by OpenID"
        " Connect](console.md#signing-in-by-openid-connect).",
    )
    oidc_client_id: str | None = Field(
        default=None, min_length=1, description="The id under which the provider knows the console."
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="The secret of that client. Unset, it is a public client."
    )
    oidc_scopes: CommaList = Field(
        default_factory=lambda: ["profile", "email"],
        description="The scopes that the provider is asked for beside openid, separated by commas.",
    )
    oidc_roles_claim: str = Field(
        default="groups",
        min_length=1,
        description="The claim of the ID token that says what somebody is: a text or a list of texts, by its"
        " name, or by a path with dots such as realm_access.roles.",
    )
    oidc_roles: CommaList = Field(
        default_factory=list,
        description="Who may do what: VALUE=SCOPE, separated by commas, where VALUE is one of the claim's and"
        " SCOPE is read, operate, money or root. Whoever has none of them does not get in.",
    )
    session_idle_s: Seconds = Field(
        default=1800,
        ge=60,
        description="How many seconds after the last call a session of the console or the portal ends.",
    )
    session_s: Seconds = Field(
        default=43_200,
        ge=60,
        description="How many seconds after the sign-in a session of the console or the portal ends.",
    )
    public_url: str | None = Field(
        default=None,
        description="The address at which callers reach the gateway: the base of every URL in its answers."
        " Default: http://HOST:PORT.",
    )
    data_dir: Path = Field(
        default=Path("data"),
        description="The folder of the SQLite database, the sandbox's files and the spool.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME, also of a connection pooler."
        " Default: SQLite in DATA_DIR/reelgate.db.",
    )
    database_pool: int = Field(
        default=10,
        ge=1,
        le=500,
        description="The maximum number of connections to PostgreSQL (beside the one that listens for"
        " announcements): two fifths to write, the others to read, at least one of each. On SQLite, of"
        " readers.",
    )
    pepper: SecretStr | None = Field(
        default=None,
        description="The server's secret in the digests of API keys and client tokens: at least 32"
        " characters, except in"
        " development.",
    )
    previous_peppers: SecretList = Field(
        default_factory=list,
        description="Former peppers, separated by commas, until the keys that were made with them are"
        " rotated.",
    )
    webhook_key: SecretList = Field(
        default_factory=list,
        max_length=2,
        description="The key that seals the secrets of webhook endpoints in the database: at least 32"
        " characters, except in development. While it is replaced, two, separated by a comma: the first"
        " seals, both open. Without it no endpoint can be made.",
    )
    webhook_endpoints: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="The maximum number of webhook endpoints of a tenant in one mode.",
    )
    upstream_base_url: str = Field(
        default="https://model-api.runcomfy.net", description="RunComfy's Model API, for rg_live_ keys."
    )
    upstream_token: SecretStr | None = Field(
        default=None, description="RunComfy's API token. Without it, rg_live_ keys get a 503."
    )
    upstream_credentials: SecretStr | None = Field(
        default=None,
        description="Several credentials in place of UPSTREAM_TOKEN: a JSON list of objects with `name`,"
        " `token` and optionally `weight` (its share of the jobs) and `concurrency` (the maximum number of"
        " its jobs in flight).",
    )
    upstream_proxy: SecretStr | None = Field(
        default=None,
        description="The HTTP proxy for calls to RunComfy: http(s)://HOST:PORT, with USER:PASSWORD@ where it"
        " asks for one. HTTPS_PROXY is not used.",
    )
    submit_deadline_s: Seconds = Field(
        default=8.0,
        gt=0,
        le=9,
        description="Seconds for a whole submit to RunComfy, so that the gateway answers within 10.",
    )
    read_deadline_s: Seconds = Field(
        default=5.0, gt=0, le=60, description="Seconds for one status, result or cancel call to RunComfy."
    )
    freshness_s: Seconds = Field(
        default=1.0,
        ge=0,
        description="How many seconds old a record may be before reading it polls RunComfy.",
    )
    run_loops: bool = Field(
        default=True,
        description="Whether `reelgate serve` also runs the background loops (polling, sending queued"
        " requests,"
        " erasing outputs); false where `reelgate worker` runs them, which does so in any case.",
    )
    poll_min_s: Seconds = Field(
        default=1.0,
        gt=0,
        description="The shortest interval in seconds between two polls of a job in the background.",
    )
    poll_max_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="The longest interval in seconds between two polls of a job in the background.",
    )
    polls_at_once: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="The maximum number of concurrent polls in the background, for each credential and"
        " server.",
    )
    follow_for_s: Seconds = Field(
        default=604_800.0,
        gt=0,
        description="Seconds after which a request whose job never ends at RunComfy is closed as lost.",
    )
    result_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=0,
        description="Seconds for which outputs are kept after a request's end; 0 keeps them for ever.",
    )
    max_wait_s: int = Field(
        default=30,
        ge=0,
        le=300,
        description="The longest time in seconds for which `?wait=` and `Prefer: wait=` hold an answer.",
    )
    streams_per_tenant: int = Field(
        default=200,
        ge=1,
        description="The maximum number of open event streams and long polls of a tenant, on each server.",
    )
    streams_per_token: int = Field(
        default=10,
        ge=1,
        description="The maximum number of open event streams and long polls of a client token, on each"
        " server.",
    )
    heartbeat_s: Seconds = Field(
        default=15.0, gt=0, le=60, description="Seconds between two keep-alive comments in an event stream."
    )
    dispatch_lease_s: Seconds = Field(
        default=30.0,
        gt=0,
        description="Seconds after which a submit without an outcome counts as unknown; more than"
        " SUBMIT_DEADLINE_S.",
    )
    missing_grace_s: Seconds = Field(
        default=300.0,
        ge=0,
        description="Seconds for which RunComfy must answer 404 before a request is closed as lost.",
    )
    audit_retention_s: Seconds = Field(
        default=0.0,
        ge=0,
        description="Seconds for which entries of the audit log are kept; 0 keeps them for ever.",
    )
    admin_call_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=86_400,
        description="Seconds for which the answers of changes over the admin API are kept, by their"
        " `Idempotency-Key`; a call that is repeated later is carried out anew.",
    )
    caller_details: Literal["full", "truncated", "none"] = Field(
        default="truncated",
        description="What is kept of who submits a request: full keeps address and `User-Agent`; truncated"
        " keeps the network of the address (24 bits of IPv4, 48 of IPv6) and the first word of `User-Agent`;"
        " none keeps nothing, and counts no refusals by network.",
    )
    caller_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=0,
        description="Seconds after its submit at which what is kept of a request's caller is erased; 0 keeps"
        " it for ever.",
    )
    trusted_proxies: CommaList = Field(
        default_factory=list,
        description="The networks of your own proxies, separated by commas, which are believed when they"
        " name a caller's address: 10.20.0.0/16, 127.0.0.1. Empty, the address is that of the connection.",
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        default="x-forwarded-for",
        description="The header in which your proxies name a caller's address: x-forwarded-for, or forwarded"
        " (RFC 7239). The other one is ignored, because callers could send it.",
    )
    refusal_retention_s: Seconds = Field(
        default=1_209_600.0,
        ge=3600,
        description="Seconds for which counts of refused calls are kept.",
    )
    unknown_refund_after_s: Seconds = Field(
        default=86_400.0,
        gt=0,
        description="Seconds after which a request of unknown outcome is closed as lost, and its hold ends.",
    )
    unknown_slot_s: Seconds = Field(
        default=900.0,
        ge=0,
        description="Seconds for which a request of unknown outcome counts as in flight.",
    )
    default_limits: CommaList = Field(
        default_factory=lambda: ["submits-minute=600"],
        description="Default limits of every tenant, separated by commas and written as for `reelgate"
        " limits set`."
        " A tenant's own limit of the same metric replaces the default.",
    )
    reads_per_minute: int = Field(
        default=6000,
        ge=0,
        le=1_000_000,
        description="The maximum number of calls other than submits, per minute and API key, on each"
        " server; 0 for no limit.",
    )
    token_calls_per_minute: int = Field(
        default=600,
        ge=0,
        le=1_000_000,
        description="The maximum number of calls, including submits, per minute and client token, on each"
        " server; 0 for no limit.",
    )
    tokens_per_minute: int = Field(
        default=600,
        ge=0,
        le=1_000_000,
        description="The maximum number of client tokens created per minute and API key, on each server; 0"
        " for no limit.",
    )
    hourly_usage_days: int = Field(
        default=35,
        ge=1,
        le=3660,
        description="Days for which usage by the hour is kept. Usage by the day is kept for ever.",
    )
    thresholds: CommaList = Field(
        default_factory=lambda: ["50", "80", "95", "100"],
        description="At which percentages of a budget or balance an event is sent to the tenant, once in each"
        " window, separated by commas; from 1 to 100.",
    )
    token_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=3600,
        description="Seconds for which the record of a client token without requests is kept after it"
        " expires.",
    )
    settle_on: Literal["success", "acceptance"] = Field(
        default="success",
        description="When a price is settled: once the request has completed, or once RunComfy has"
        " accepted it.",
    )
    charge_for: Annotated[
        list[Literal["cancelled", "failed", "expired", "lost"]], NoDecode, BeforeValidator(_split)
    ] = Field(
        default_factory=list,
        description="Other final states that are charged, separated by commas: cancelled, failed, expired,"
        " lost."
        " All others are refunded.",
    )
    rescue_interval_s: Seconds = Field(
        default=5.0, gt=0, description="Seconds between two searches for submits whose server died."
    )
    catalog_dir: Path | None = Field(
        default=None,
        description="A folder of your own model files: they are added to the shipped ones, or replace them.",
    )
    cors_headers: CommaList = Field(
        default_factory=list,
        description="More request headers that pages may send, separated by commas: those of usual tracing"
        " tools are allowed already.",
    )
    http_media_hosts: CommaList = Field(
        default_factory=list,
        description="host:port pairs, separated by commas, from which files may be fetched over plain http,"
        " even in private networks; for rg_test_ keys the sandbox is always included.",
    )
    media_networks: CommaList = Field(
        default_factory=list,
        description="Private networks, separated by commas, from which files may be fetched: 10.20.0.0/16"
        " allows ports 80 and 443, 10.20.0.0/16:9000 only port 9000.",
    )
    media_checks: Literal["enforce", "warn", "off"] = Field(
        default="enforce",
        description="What happens to a file that breaks a rule of its model: enforce refuses the request,"
        " warn"
        " accepts and notes it, off inspects no files. A tenant's own setting replaces it.",
    )
    media_deadline_s: Seconds = Field(
        default=4.0,
        gt=0,
        le=60,
        description="Seconds for inspecting all files of a request; for a submit at most half of"
        " SUBMIT_DEADLINE_S.",
    )
    media_cache_s: Seconds = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="Seconds for which what is known of a file at a URL is reused without fetching it again.",
    )
    media_fetches_per_tenant: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="The maximum number of concurrent fetches of files for a tenant, on each server.",
    )
    media_user_agent: str | None = Field(
        default=None,
        pattern=r"^[!-~]([ -~]{0,254}[!-~])?$",
        description="What servers are told of who fetches files from them, in `User-Agent`: name a contact."
        " By default reelgate, its version, and PUBLIC_URL where that is set.",
    )
    data_uris: bool = Field(default=True, description="Whether pictures may be sent as data: URIs.")
    max_body_bytes: int = Field(
        default=262_144,
        ge=1024,
        le=67_108_864,
        description="The maximum size of a request's body, in bytes, without the data: URIs in it.",
    )
    max_data_uri_bytes: int = Field(
        default=8_388_608,
        ge=0,
        le=67_108_864,
        description="The maximum size of all data: URIs of a body together, in bytes as sent: a third more"
        " than the files have.",
    )
    large_bodies_bytes: int = Field(
        default=67_108_864,
        ge=1_048_576,
        le=17_179_869_184,
        description="The maximum size of all bodies over MAX_BODY_BYTES that a server works on at the same"
        " time; further ones wait for two seconds, and then get a 503. The server may need five times as much"
        " memory.",
    )
    max_header_bytes: int = Field(
        default=16_384,
        ge=1024,
        le=1_048_576,
        description="The maximum size of a request's address and headers together, and of the extensions and"
        " trailers of a chunked body, in bytes.",
    )
    header_timeout_s: Seconds = Field(
        default=10.0, gt=0, le=300, description="Seconds within which a request's headers must arrive."
    )
    body_timeout_s: Seconds = Field(
        default=30.0, gt=0, le=3600, description="Seconds within which a request's body must arrive."
    )
    write_timeout_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds after which a connection is closed whose client reads nothing.",
    )
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="Seconds for which an idle connection is kept; set it higher than in the proxy in front.",
    )
    fast_reads: bool = Field(
        default=True,
        description="Whether plain reads of a request's status and result are answered before FastAPI, by the"
        " same decisions.",
    )
    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="The maximum number of open connections of a server."
    )
    queueing: bool = Field(
        default=False,
        description="Whether requests that cannot be sent yet are queued instead of refused. A tenant's or"
        " key's own setting replaces it.",
    )
    max_queued_per_tenant: int = Field(
        default=1_000,
        ge=0,
        le=1_000_000,
        description="The maximum number of queued requests per tenant and mode (live, test), where the"
        " tenant has no"
        " number of its own.",
    )
    max_queued: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="The maximum number of queued requests of all tenants per mode (live, test).",
    )
    http_webhook_hosts: CommaList = Field(
        default_factory=list,
        description="host:port pairs, separated by commas, to which webhooks may be sent over plain http,"
        " even in private networks.",
    )
    webhook_networks: CommaList = Field(
        default_factory=list,
        description="Private networks to which webhooks may be sent over https, such as 10.20.0.0/16 or"
        " 10.20.0.0/16:8443. Every tenant can then choose any address in them.",
    )
    webhook_retention_s: Seconds = Field(
        default=2_592_000,
        ge=86_400,
        description="Seconds for which webhooks are kept after they were made: events, deliveries and their"
        " attempts. What still waits then is not sent.",
    )
    webhooks_at_once: int = Field(
        default=64,
        ge=1,
        le=1000,
        description="The maximum number of webhooks being sent at a time, on each server.",
    )
    webhooks_per_tenant: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="The maximum number of webhooks of one tenant being sent at a time, on all servers.",
    )
    webhooks_per_endpoint: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="The maximum number of webhooks being sent to one endpoint at a time, on all servers.",
    )
    operator_webhook_url: str | None = Field(
        default=None,
        description="The operator's own webhook endpoint, which hears of conditions such as a refused"
        " credential. Its host may be private. See [webhooks](webhooks.md#for-the-operator).",
    )
    operator_webhook_secret: SecretStr | None = Field(
        default=None,
        description="The secret that messages to OPERATOR_WEBHOOK_URL are signed with: `whsec_` and 24 to 64"
        " bytes in base64.",
    )
    dispatches_at_once: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="The maximum number of queued requests being sent at a time, on each server.",
    )
    drain_s: int = Field(
        default=20, ge=0, le=600, description="Seconds for which a stopping server waits for work under way."
    )
    drain_delay_s: Seconds = Field(
        default=0.0,
        ge=0,
        le=120,
        description="Seconds for which a stopping server keeps serving while /readyz answers 503, so that the"
        " proxy in front of it can notice.",
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="The bearer token for /metrics. Without it there are no metrics."
    )
    metrics_tenants: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="For how many tenants /metrics has numbers of their own: those with the longest queues,"
        " and with the most refusals. By default none, since each tenant is a label.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="The address of an OTLP receiver, such as http://127.0.0.1:4318, which is sent"
        " [traces](traces.md). Without it there are none. Needs the extra `otel`.",
    )
    otlp_headers: SecretStr | None = Field(
        default=None,
        description="Headers for that receiver, such as its token: NAME=VALUE, separated by commas.",
    )
    traces_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Which part of all traces is recorded, where the caller does not decide: 1 for all.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The lowest severity that is logged."
    )
    log_format: Literal["json", "console"] | None = Field(
        default=None, description="json, or console for people. Default: console in development, else json."
    )
    sandbox_host: str = Field(default="127.0.0.1", description="The address that the sandbox listens on.")
    sandbox_port: int = Field(
        default=8701, ge=1, le=65535, description="The port that the sandbox listens on."
    )
    sandbox_url: str | None = Field(
        default=None,
        description="The address at which the gateway reaches the sandbox, for rg_test_ keys."
        " Default: http://SANDBOX_HOST:SANDBOX_PORT.",
    )
    sandbox_public_url: str | None = Field(
        default=None,
        description="The address at which callers reach the sandbox, for the URLs of its pictures and videos."
        " Default: SANDBOX_URL.",
    )
    playground_kid: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Za-z]{12}$",
        description="The kid of the API key whose client tokens the page at /playground gets. Whoever can"
        " open"
        " the page spends that key's credits. Unset, there is no page; `reelgate dev` uses its test key.",
    )
    playground_requests: int = Field(
        default=20,
        ge=0,
        description="The maximum number of requests of one playground token, which is valid for ten minutes.",
    )
    sandbox_token: SecretStr = Field(
        default=SecretStr(DEMO_SANDBOX_TOKEN),
        description="The secret that the gateway and its sandbox share.",
    )
    sandbox_concurrency: int = Field(
        default=2, ge=1, description="The number of jobs that the sandbox runs at a time."
    )
    sandbox_queue_s: Seconds = Field(
        default=1.0,
        ge=0,
        description="The shortest time in seconds that a job spends in the sandbox's queue.",
    )
    sandbox_run_s: Seconds = Field(
        default=4.0, ge=0, description="The shortest time in seconds that a sandbox job runs."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        in_file = settings_file.values()
        for name in FROM_FILES:
            path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
            if path and not values.get(name):
                values[name] = _secret_in(path, f"{PREFIX}{name.upper()}_FILE")
            path = in_file.get(f"{name}_file")
            if path and name not in in_file and not values.get(name):
                values[name] = _secret_in(str(path), f"{name}_file in {settings_file.path()}")
        return {name: value for name, value in in_file.items() if name in cls.model_fields} | values

    @field_validator("*", mode="before")
    @classmethod
    def _as_it_was_meant(cls, value: Any) -> Any:
        if isinstance(value, str) and (fault := fault_of_text(value)):
            raise ValueError(fault)
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        return SecretStr(database_url.normalised(value.get_secret_value()))

    @field_validator("host", "admin_host", "sandbox_host")
    @classmethod
    def _without_brackets(cls, value: str | None) -> str | None:
        return value[1:-1] if value is not None and _BRACKETS.fullmatch(value) else value

    @field_validator("upstream_credentials")
    @classmethod
    def _known_credentials(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _credentials_in(value)
        return value

    @field_validator("upstream_proxy")
    @classmethod
    def _known_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_proxy(value.get_secret_value())
        return value

    @field_validator("upstream_token", "sandbox_token", "metrics_token")
    @classmethod
    def _printable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all("!" <= character <= "~" for character in value.get_secret_value()):
            raise ValueError("may contain only printable ASCII characters without spaces")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _receiver(cls, value: str | None) -> str | None:
        if value is not None and (
            urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).netloc
        ):
            raise ValueError("is not an address such as http://127.0.0.1:4318")
        if value is not None and ("@" in urlsplit(value).netloc or "?" in value or "#" in value):
            # it is shown, by `reelgate config show` among others
            raise ValueError(f"must have no password and no query: use {PREFIX}OTLP_HEADERS")
        return value

    @field_validator("otlp_headers")
    @classmethod
    def _pairs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _pairs_in(value)
        return value

    @field_validator("cors_headers")
    @classmethod
    def _header_names(cls, values: list[str]) -> list[str]:
        if wrong := [value for value in values if not _HEADER_NAME.fullmatch(value)]:
            raise ValueError(f"{wrong[0]!r} is not the name of a header")
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_network(value, strict=False)
            except ValueError as error:
                raise ValueError(f"{value!r} is no network: write it like 10.20.0.0/16") from error
        return values

    @field_validator("http_media_hosts", "http_webhook_hosts")
    @classmethod
    def _host_and_port(cls, values: list[str]) -> list[str]:
        if wrong := [value for value in values if not _HOST_AND_PORT.fullmatch(value)]:
            raise ValueError(f"{wrong[0]!r} is not host:port")
        return [netloc(f"http://{value}") for value in values]

    @field_validator("operator_webhook_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
                raise ValueError("must be an absolute http(s) URL without user name and password")
        return value

    @field_validator("operator_webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            webhook_secret_in(value)
        return value

    @field_validator("public_url", "console_url", "sandbox_url", "sandbox_public_url", "upstream_base_url")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        odd = re.search(r"[\s?#]", value) or parts.scheme not in {"http", "https"}
        if odd or not parts.hostname:
            raise ValueError("must be an absolute http(s) URL without query or fragment")
        if not has_good_port(value):
            raise ValueError("has a port that is not valid")
        return value.rstrip("/")

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if re.search(r"[\s?#@]", value) or not parts.hostname or not has_good_port(value):
            raise ValueError("must be an absolute https URL without user, query or fragment")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(parts.hostname)):
            raise ValueError("must be https; plain http is for a provider on this machine")
        return value  # with its last slash, if it has one: it is compared as it is

    @field_validator("oidc_scopes")
    @classmethod
    def _oauth_scopes(cls, values: list[str]) -> list[str]:
        if wrong := [one for one in values if not re.fullmatch(r"[!#-\[\]-~]+", one)]:
            raise ValueError(f"{wrong[0]!r} is not a scope")
        return values

    @field_validator("oidc_roles")
    @classmethod
    def _roles(cls, values: list[str]) -> list[str]:
        for one in values:
            name, _, scope = one.rpartition("=")
            if not name.strip() or scope.strip() not in _ADMIN_SCOPES:
                raise ValueError(f"{one!r} is not VALUE=SCOPE with one of {', '.join(_ADMIN_SCOPES)}")
        return values

    @field_validator("thresholds")
    @classmethod
    def _percentages(cls, value: list[str]) -> list[str]:
        if any(not one.isascii() or not one.isdigit() or int(one[:4]) not in _PERCENTAGES for one in value):
            raise ValueError("has something that is not a whole number from 1 to 100")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dispatch_lease_s <= self.submit_deadline_s:
            raise ValueError("dispatch_lease_s must be greater than submit_deadline_s")
        if self.drain_s <= self.submit_deadline_s + 1:
            raise ValueError("drain_s must exceed submit_deadline_s by more than 1: no submit may be cut")
        if self.upstream_token is not None and self.upstream_credentials is not None:
            raise ValueError("set upstream_token or upstream_credentials, not both")
        if self.upstream_proxy is not None and not self.upstream_base_url.startswith("https://"):
            raise ValueError(
                "upstream_proxy needs an https upstream_base_url: plain http could be answered by the proxy"
            )
        if self.large_bodies_bytes < self.max_body_bytes + self.max_data_uri_bytes:
            raise ValueError("large_bodies_bytes must not be less than max_body_bytes and max_data_uri_bytes")
        if self.has_admin_port and self.admin_port == self.port:
            raise ValueError("admin_port must not be port; leave it unset to serve the admin API there")
        if (self.operator_webhook_url is None) != (self.operator_webhook_secret is None):
            raise ValueError("set both operator_webhook_url and operator_webhook_secret, or neither")
        if self.console and not self.admin_api:
            raise ValueError("console needs admin_api: its pages stand over the admin API")
        if self.poll_max_s < self.poll_min_s:
            raise ValueError("poll_max_s must not be less than poll_min_s")
        return self

    @model_validator(mode="after")
    def _someone_gets_in(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if not self.console:
            raise ValueError("oidc_issuer needs console: it is the console that people sign in to")
        if self.oidc_client_id is None:
            raise ValueError("oidc_issuer needs oidc_client_id")
        if not self.oidc_roles:
            raise ValueError("oidc_issuer needs oidc_roles: without roles nobody could get in")
        return self

    @property
    def roles_of_oidc(self) -> dict[str, frozenset[str]]:
        """The admin scopes that each value of the roles' claim gives."""
        found: dict[str, frozenset[str]] = {}
        for one in self.oidc_roles:
            name, _, scope = one.rpartition("=")
            found[name.strip()] = found.get(name.strip(), frozenset()) | {scope.strip()}
        return found

    @property
    def console_base_url(self) -> str:
        """The address at which browsers reach the console, without /console."""
        if self.console_url is not None:
            return self.console_url
        return f"http://localhost:{self.admin_port}" if self.has_admin_port else self.base_url

    @property
    def live_credentials(self) -> list[CredentialSettings]:
        """The credentials for RunComfy; none where none is configured."""
        if self.upstream_credentials is not None:
            return _credentials_in(self.upstream_credentials)
        if self.upstream_token is not None:
            return [CredentialSettings(name="default", token=self.upstream_token)]
        return []

    @property
    def upstream_proxy_url(self) -> str | None:
        """The URL of the proxy for calls to RunComfy, with its password."""
        return None if self.upstream_proxy is None else self.upstream_proxy.get_secret_value()

    @property
    def upstream_proxy_host(self) -> str | None:
        """The proxy's `host:port`, which may be shown."""
        return (
            None
            if self.upstream_proxy_url is None
            else urlsplit(self.upstream_proxy_url).netloc.rpartition("@")[2]
        )

    @property
    def development(self) -> bool:
        """Whether the environment is `development`."""
        return self.environment == "development"

    @property
    def has_admin_port(self) -> bool:
        """Whether the admin API is served on a port of its own."""
        return self.admin_api and self.admin_port is not None

    @property
    def admin_address(self) -> str:
        """The address that the admin API listens on, where it has a port of its own."""
        return self.admin_host or self.host

    @property
    def base_url(self) -> str:
        """The base of the gateway's URLs in answers, without a slash at its end."""
        return self.public_url or f"http://{reachable(self.host)}:{self.port}"

    @property
    def sandbox_base_url(self) -> str:
        """The base of the URLs at which the gateway reaches the sandbox."""
        return self.sandbox_url or f"http://{reachable(self.sandbox_host)}:{self.sandbox_port}"

    @property
    def sandbox_public_base_url(self) -> str:
        """The base of the URLs of the sandbox's pictures and videos."""
        return self.sandbox_public_url or self.sandbox_base_url

    @property
    def database(self) -> str:
        """The database's URL, as the operator writes it; by default an SQLite file in the data folder."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'reelgate.db'}"

    @property
    def sandbox_media_hosts(self) -> frozenset[str]:
        """The `host:port` of the sandbox, as the gateway and as callers reach it."""
        return frozenset({netloc(self.sandbox_base_url), netloc(self.sandbox_public_base_url)})

    def secrets(self) -> list[str]:
        """Returns every secret of the settings, for the log to hide.

        Raises:
            SettingsError: as for `current_pepper`.

        """
        single = (
            self.upstream_token,
            self.upstream_credentials,
            self.sandbox_token,
            self.metrics_token,
            self.operator_webhook_secret,
            self.oidc_client_secret,
        )
        tokens = [one.get_secret_value() for one in single if one is not None]
        proxy = urlsplit(self.upstream_proxy_url or "").password
        return [
            self.current_pepper(),
            *self.older_peppers(),
            *(one.get_secret_value() for one in self.webhook_key),
            *tokens,
            *self.otlp_header_pairs.values(),
            *(one.token.get_secret_value() for one in self.live_credentials),
            *database_url.secrets_of(self.database),
            *({proxy, unquote(proxy)} if proxy else ()),
        ]

    @property
    def otlp_header_pairs(self) -> dict[str, str]:
        """The headers for the receiver of traces."""
        return {} if self.otlp_headers is None else _pairs_in(self.otlp_headers)

    def older_peppers(self) -> list[str]:
        """Returns the peppers that are being rotated out."""
        return [pepper.get_secret_value() for pepper in self.previous_peppers]

    def current_pepper(self) -> str:
        """Returns the pepper; in development, if none is set, one that is made once in the data folder.

        Raises:
            SettingsError: outside development there is no pepper, or it is weak.

        """
        if self.pepper is not None:
            pepper = self.pepper.get_secret_value()
            if not self.development and weak(pepper):
                raise SettingsError(
                    f"{PREFIX}PEPPER is weak: use at least {MIN_PEPPER_CHARACTERS} random characters,"
                    " such as `openssl rand -base64 32` prints."
                )
            return pepper
        if not self.development:
            raise SettingsError(
                f"{PREFIX}PEPPER is not set: set it to the output of `openssl rand -base64 32`, and keep it:"
                " without it no API key is valid."
            )
        return _kept_secret(self.kept_pepper)

    def sealing_keys(self) -> list[str]:
        """Returns the keys that open secrets of webhook endpoints, the one that seals first; none may be set.

        In development there is always one: if none is set, one that is made once in the data folder.

        Raises:
            SettingsError: outside development, a key is weak.

        """
        keys = [one.get_secret_value() for one in self.webhook_key]
        if not self.development and any(map(weak, keys)):
            raise SettingsError(
                f"{PREFIX}WEBHOOK_KEY is weak: use at least {MIN_PEPPER_CHARACTERS} random characters,"
                " such as `openssl rand -base64 32` prints."
            )
        return keys or ([_kept_secret(self.kept_webhook_key)] if self.development else [])

    @property
    def kept_webhook_key(self) -> Path:
        """The file that holds the key for secrets of webhook endpoints which development makes."""
        return self.data_dir / "webhook-key"

    @property
    def kept_pepper(self) -> Path:
        """The file that holds the pepper which development makes."""
        return self.data_dir / "pepper"

    def beside_development(self) -> Self:
        """Returns the settings of a command that runs in the folder of a development server.

        They are those of the environment `development`, whose pepper is in the data folder. They are
        unchanged where anything speaks for production: a pepper, an environment or a database URL is set, or
        there is no pepper in the data folder.
        """
        chosen = {"environment", "database_url"} & self.model_fields_set
        if self.pepper is not None or chosen or not self.kept_pepper.is_file():
            return self
        return self.model_copy(update={"environment": "development"})


def webhook_secret_in(secret: SecretStr) -> bytes:
    """Returns the bytes of a webhook secret in its usual form.

    Raises:
        ValueError: it has another form.

    """
    prefix, _, text = secret.get_secret_value().strip().partition("_")
    try:
        found = base64.b64decode(text, validate=True) if prefix == "whsec" else b""
    except binascii.Error:
        found = b""
    if not 24 <= len(found) <= 64:  # noqa: PLR2004 - Standard Webhooks 1.0.0
        raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
    return found


def _pairs_in(value: SecretStr) -> dict[str, str]:
    """Returns headers that are written NAME=VALUE, separated by commas."""
    pairs = [one.strip().partition("=") for one in value.get_secret_value().split(",")]
    if wrong := [name for name, sign, text in pairs if not (_HEADER_NAME.fullmatch(name) and sign and text)]:
        raise ValueError(f"entry {[one[0] for one in pairs].index(wrong[0]) + 1} is not NAME=VALUE")
    return {name: text for name, _, text in pairs}


def _credentials_in(secret: SecretStr) -> list[CredentialSettings]:
    """Returns the credentials in the JSON of a setting.

    Raises:
        ValueError: they are not valid; the message says why, but repeats none of it, for it holds tokens.

    """
    try:
        found = _CREDENTIALS.validate_json(secret.get_secret_value())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place or 'it'}: {first['msg']}") from None
    names = [one.name for one in found]
    if not found or len(set(names)) < len(names) or "sandbox" in names:
        raise ValueError("needs one or more credentials, each with a different name, and none named sandbox")
    for one in found:
        token = one.token.get_secret_value()
        if not all("!" <= character <= "~" for character in token):
            raise ValueError(
                f"the token of {one.name} may contain only printable ASCII characters without spaces"
            )
    return found


def _secret_in(path: str, where: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not secret:
        raise ValueError(f"{where}: {path} is empty")
    return secret


def _kept_secret(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(os.urandom(32).hex())
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        raise SettingsError(
            f"{path} is empty; remove it to have a new one made, after which nothing made with it is valid."
        )
    return secret
