"""The address of a database as dashboards and other libraries write it, made into the one form we use.

What means the same is taken; anything else is refused with what to write instead. No message repeats the
address: there is a password in it.
"""

import difflib
import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

WHICH: Final = "must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME"
PARAMETERS: Final = frozenset(
    name
    for row in (
        "service user password passfile channel_binding connect_timeout dbname host hostaddr port",
        "client_encoding options application_name fallback_application_name keepalives",
        "keepalives_idle keepalives_interval keepalives_count tcp_user_timeout sslmode",
        "sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert sslcrl",
        "sslcrldir sslsni requirepeer require_auth min_protocol_version max_protocol_version",
        "ssl_min_protocol_version ssl_max_protocol_version gssencmode krbsrvname gsslib",
        "gssdelegation target_session_attrs load_balance_hosts",
    )
    for name in row.split()
)
"""PostgreSQL's own parameters (those of libpq) that an address may have."""

_POSTGRES_SCHEMES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg", "postgres+psycopg"})
_SQLITE_SCHEMES: Final = frozenset({"sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"})
_MANY_TIMES: Final = frozenset({"host", "port"})  # of several servers
_SECRET: Final = frozenset({"password", "sslpassword"})
_VALUES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_POOL: Final = "leave it out, and set REELGATE_DATABASE_POOL instead"
_PREPARED: Final = "leave it out: behind a pooler the gateway prepares no statements anyway"
_SCHEMA: Final = "write options=-csearch_path%3DNAME instead"
_OF_OTHERS: Final = {
    "ssl": "write sslmode=require instead",
    "ssl_mode": "write sslmode instead",
    "ssl-mode": "write sslmode instead",
    "sslaccept": "write sslmode instead",
    "sslrootcert_path": "write sslrootcert instead",
    "connection_limit": _POOL,
    "pool_size": _POOL,
    "max_overflow": _POOL,
    "pool_timeout": _POOL,
    "prepare_threshold": _PREPARED,
    "statement_cache_size": _PREPARED,
    "prepared_statement_cache_size": _PREPARED,
    "schema": _SCHEMA,
    "currentschema": _SCHEMA,
    "search_path": _SCHEMA,
}


def normalised(url: str) -> str:
    """Returns `sqlite:///PATH` or `postgresql://…` with parameters that PostgreSQL's client library knows.

    Raises:
        ValueError: it is neither; the message says what to write.

    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if separator and scheme in _SQLITE_SCHEMES:
        return _sqlite(rest)
    if separator and scheme in _POSTGRES_SCHEMES:
        return _postgres(rest)
    base, _, driver = scheme.partition("+")
    if separator and driver and base in {"postgresql", "postgres", "sqlite"}:
        name = "sqlite" if base == "sqlite" else "postgresql"
        raise ValueError(f"{WHICH}: write {name}:// instead of {base}+{driver}://")
    if "postgres" in scheme and separator:
        raise ValueError(f"{WHICH}: the address alone, without anything before postgresql://")
    raise ValueError(WHICH)


def secrets_of(url: str) -> list[str]:
    """Returns the passwords in a database's address, as they are and as the address writes them."""
    if url.startswith("sqlite"):
        return []
    parts = urlsplit(url)
    given = [value for name, value in parse_qsl(parts.query) if name in _SECRET]
    password = parts.password
    return [*given, *([password, unquote(password)] if password else [])]


def _sqlite(rest: str) -> str:
    if rest == "/" or not rest.startswith("/"):
        raise ValueError(f"{WHICH}: three slashes, and a fourth where the path begins at the root")
    path = rest[1:]
    if path == ":memory:":
        raise ValueError("must name a file: a database in memory is not supported")
    if "?" in path:
        raise ValueError("must be sqlite:///PATH and no more: options after a ? are not supported")
    if path.startswith("~"):
        raise ValueError("must have its path in full: ~ is not replaced by a home folder")
    if path.endswith("/"):
        raise ValueError("must name a file, not a folder: add a name such as reelgate.db")
    return f"sqlite:///{path}"


def _postgres(rest: str) -> str:
    _check_placeholders(rest)
    _check_server(rest)
    address, mark, query = rest.partition("?")
    kept = [part for part in query.split("&") if part and not _is_needless(part)]
    _check_parameters(kept)
    return f"postgresql://{address}{mark if kept else ''}{'&'.join(kept)}"


def _check_placeholders(rest: str) -> None:
    credentials = rest.rpartition("@")[0]
    if re.search(r"\[[A-Za-z_ -]{3,}\]|<[A-Za-z_ -]{3,}>|\$\{[A-Za-z_]\w*\}", credentials):
        raise ValueError("has a placeholder in brackets: put the value there, percent-encoded")
    if re.search(r":[*•]{3,}$", credentials):
        raise ValueError("has a masked password: put the password itself there, percent-encoded")


def _check_server(rest: str) -> None:
    """Checks the servers that follow `//`: SQLAlchemy could not read some, or would read something else."""
    before, *after = re.split("[/?#]", rest, maxsplit=1)
    server = before.rpartition("@")[2]
    if "," in server and ":" in server:  # SQLAlchemy reads one port, and uses it for all hosts
        raise ValueError(
            "cannot have several hosts with ports before its name:"
            " use postgresql://USER:PASSWORD@/NAME?host=HOST:PORT&host=HOST:PORT"
        )
    hidden = "@" not in before and ":" in before and any("@" in part.partition("?")[0] for part in after)
    try:
        good = urlsplit(f"postgresql://{rest}").port != 0
    except ValueError:
        good = False
    if hidden or before.count("@") > 1:
        raise ValueError(f"{WHICH}: in a password write / as %2F, ? as %3F, # as %23, @ as %40")
    if not good:
        raise ValueError(WHICH)


def _is_needless(part: str) -> bool:
    """Returns whether a parameter says what the gateway finds out by itself, that a pooler answers."""
    name, _, value = part.partition("=")
    return name.lower() == "pgbouncer" and value.lower() in {"true", "false"}


def _check_parameters(parts: list[str]) -> None:
    names = [unquote(part.partition("=")[0]) for part in parts]
    for part, name in zip(parts, names, strict=True):
        value = unquote(part.partition("=")[2])
        if name not in PARAMETERS:
            hint = _OF_OTHERS.get(name.lower())
            if hint is None:
                near = difflib.get_close_matches(name.lower(), PARAMETERS, n=1)
                hint = f"did you mean {near[0]}?" if near else "leave it out"
            raise ValueError(f"has a parameter {_shown(name)} that PostgreSQL does not know: {hint}")
        if names.count(name) > 1 and name not in _MANY_TIMES:
            raise ValueError(f"has the parameter {name} more than once")
        if not value:
            raise ValueError(f"has the parameter {name} without a value")
        known = _VALUES.get(name)
        if known is not None and value not in known:
            raise ValueError(f"has {name}={_shown(value)}: it is one of {', '.join(known)}")


def _shown(text: str) -> str:
    return repr(text[:40])[1:-1]
