"""Time zones: which an operator may give, and what becomes of one that a server does not know."""

import zoneinfo
from collections.abc import Iterator

import pytest

from app.quotas import account
from app.quotas.account import check_zone, zone_of
from app.quotas.limits import LimitError


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    zone_of.cache_clear()
    yield
    zone_of.cache_clear()


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12"])
def test_a_zone_of_iana_is_taken(name: str) -> None:
    check_zone(name)
    assert zone_of(name).key == name


OF_A_MACHINE = ("localtime", "Factory", "posixrules", "posix/UTC", "right/Europe/Berlin")


@pytest.mark.parametrize(
    "name", ["", "utc", "Europe", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "a\0b", *OF_A_MACHINE]
)
def test_what_is_no_zone_or_another_one_elsewhere_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = zoneinfo.available_timezones() | set(OF_A_MACHINE)
    monkeypatch.setattr(account, "available_timezones", lambda: listed)
    with pytest.raises(LimitError, match="no time zone"):
        check_zone(name)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "a\0b", "Europe"])
def test_a_stored_zone_that_is_not_known_is_utc_and_said_once(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert zone_of(name).key == "UTC"
    told = capsys.readouterr()
    assert (told.out + told.err).count("A tenant's time zone is unknown on this machine") == 1
