"""What values of settings may be, and the class that every room of settings is made of."""

import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.setting_texts import has_good_port, netloc

PREFIX: Final = "REELGATE_"
_TEN_YEARS_S: Final = 315_360_000
HOST_AND_PORT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_BRACKETS: Final = re.compile(r"\[[^\[\]]+\]")


class _Variables(EnvSettingsSource):
    """The variables of the environment, of which each is one setting.

    A setting without a variable is passed over. The library would look for one that is made of several.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if f"{self.env_prefix}{field_name}".lower() not in self.env_vars:
            return None, field_name, True
        return super().get_field_value(field, field_name)

    def prepare_field_value(
        self,
        field_name: str,
        field: FieldInfo,
        value: Any,
        value_is_complex: bool,  # noqa: FBT001 - as the library calls it
    ) -> Any:
        if value is None:
            return None
        return super().prepare_field_value(field_name, field, value, value_is_complex)


class _VariablesInFile(_Variables, DotEnvSettingsSource):
    """Those in `.env`."""


class Room(BaseSettings):
    """Settings that belong together; only `app.config.Settings`, which has all of them, is ever built."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
        defer_build=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `_Variables` stands in for it
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there are none
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Returns where settings come from; the first wins."""
        file = dotenv_settings.env_file if isinstance(dotenv_settings, DotEnvSettingsSource) else None
        return init_settings, _Variables(settings_cls), _VariablesInFile(settings_cls, env_file=file)


def split(value: Any) -> Any:
    """Returns the parts of a text that are separated by commas; anything else as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _ten_years_at_most(value: float) -> float:
    if not value <= _TEN_YEARS_S:  # also false for NaN
        raise ValueError(f"must be at most {_TEN_YEARS_S} seconds, ten years")
    return value


def _without_brackets(value: str) -> str:
    return value[1:-1] if _BRACKETS.fullmatch(value) else value


def _printable(value: SecretStr) -> SecretStr:
    if not all("!" <= character <= "~" for character in value.get_secret_value()):
        raise ValueError("may contain only printable ASCII characters without spaces")
    return value


def _host_and_port(values: list[str]) -> list[str]:
    if wrong := [value for value in values if not HOST_AND_PORT.fullmatch(value)]:
        raise ValueError(f"{wrong[0]!r} is not host:port")
    return [netloc(f"http://{value}") for value in values]


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    odd = re.search(r"[\s?#]", value) or parts.scheme not in {"http", "https"}
    if odd or not parts.hostname:
        raise ValueError("must be an absolute http(s) URL without query or fragment")
    if not has_good_port(value):
        raise ValueError("has a port that is not valid")
    return value.rstrip("/")


CommaList = Annotated[list[str], NoDecode, BeforeValidator(split)]
SecretList = Annotated[list[SecretStr], NoDecode, BeforeValidator(split)]
Seconds = Annotated[float, AfterValidator(_ten_years_at_most)]
Host = Annotated[str, AfterValidator(_without_brackets)]
HostPorts = Annotated[CommaList, AfterValidator(_host_and_port)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
TokenText = Annotated[SecretStr, AfterValidator(_printable)]
