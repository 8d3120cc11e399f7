"""How PostgreSQL's own programs are told of our database: by arguments, and its password beside them."""

from sqlalchemy import URL, make_url

_PASSWORD = "PGPASSWORD"  # noqa: S105 - the name of a variable


def arguments_for(url: str) -> tuple[list[str], dict[str, str]]:
    """Returns the arguments and the variables for `pg_dump` and `pg_restore` with this database.

    Every user of a machine can read arguments, so the password is not among them.
    """
    parsed = make_url(url)
    query = dict(parsed.query)
    password = parsed.password or query.pop("password", None)
    address = URL.create(
        "postgresql", parsed.username, None, parsed.host, parsed.port, parsed.database or "", query
    ).render_as_string(hide_password=False)
    return [f"--dbname={address}"], {} if password is None else {_PASSWORD: str(password)}
