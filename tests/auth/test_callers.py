"""A caller's address is the connection's, or what a trusted proxy names; only what is allowed is kept."""

from ipaddress import ip_network

import pytest

from app.auth.callers import NOBODY, Caller, Callers, Kept, forms_of

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:1::/48")))


def address(peer: str | None, *values: str, header: str = "x-forwarded-for") -> str | None:
    callers = Callers(kept="full", trusted=PROXIES, header=header.encode())
    pairs = [(header.encode(), one.encode("latin-1")) for one in values]
    return callers.of(
        peer, [(b"x-forwarded-for" if header == "forwarded" else b"forwarded", b"6.6.6.6"), *pairs]
    ).address


@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # whoever is no proxy may name anything
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the first was the caller's own
        ("10.1.1.1", ["6.6.6.6", "198.51.100.1, 10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1, unknown"], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.1.1", ["[2001:db8:9::1]:80"], "2001:db8:9::1"),
        ("10.1.1.1", ["2001:DB8:9:0::1"], "2001:db8:9::1"),
        ("::ffff:10.1.1.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("2001:db8:1::5", ["198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::1"),
        (None, ["198.51.100.1"], None),
        ("testclient", [], None),
        ("10.1.1.1", ["\xff\x00", ","], "10.1.1.1"),
    ],
)
def test_only_what_a_trusted_proxy_wrote_is_believed(
    peer: str | None, values: list[str], expected: str | None
) -> None:
    assert address(peer, *values) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=198.51.100.1;proto=https", "198.51.100.1"),
        ('by=10.1.1.1; For="[2001:db8:9::1]:4711"', "2001:db8:9::1"),
        ("for=6.6.6.6, for=198.51.100.1", "198.51.100.1"),
        ("for=198.51.100.1, for=_hidden", "10.1.1.1"),
        ("proto=https", "10.1.1.1"),
    ],
)
def test_the_standard_header_is_read_where_it_is_chosen(value: str, expected: str) -> None:
    assert address("10.1.1.1", value, header="forwarded") == expected


AGENT = "Mozilla/5.0 (X11; Linux) Firefox/150"


@pytest.mark.parametrize(
    ("kept", "expected", "network"),
    [
        ("full", Caller("203.0.113.7", AGENT), "203.0.113.0/24"),
        ("truncated", Caller("203.0.113.0/24", "Mozilla/5.0"), "203.0.113.0/24"),
        ("none", NOBODY, ""),
    ],
)
def test_as_much_is_kept_as_the_setting_allows(kept: Kept, expected: Caller, network: str) -> None:
    callers = Callers(kept=kept)
    headers = [(b"user-agent", AGENT.encode())]
    assert callers.of("203.0.113.7", headers) == expected
    assert callers.network("203.0.113.7", headers) == network
    assert callers.of("203.0.113.7", headers) == expected


def test_a_program_cannot_write_more_or_other_characters_than_a_column_holds() -> None:
    found = Callers(kept="full").of("2001:db8:9:8::1", [(b"user-agent", b"a\x1b[2J\xff" * 100)])
    assert found.user_agent is not None
    assert (len(found.user_agent), found.user_agent[:6]) == (200, "a?[2J\xff")
    assert Callers().of("2001:db8:9:8::1", []) == Caller("2001:db8:9::/48", None)


def test_an_address_is_looked_for_in_every_form_in_which_it_may_be_kept() -> None:
    assert forms_of("203.0.113.7") == ("203.0.113.7", "203.0.113.0/24")
    assert forms_of("203.0.113.0/24") == ("203.0.113.0/24",)
    assert forms_of("2001:DB8:9::1") == ("2001:db8:9::1", "2001:db8:9::/48")
    assert forms_of("the office") == ()
