"""The database."""

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from app import database_url
from app.settings.values import Room


class DatabaseSettings(Room):
    """The database."""

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

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        return SecretStr(database_url.normalised(value.get_secret_value()))
