"""Commands on another machine, over the admin API: the same output, the same errors, the same exit codes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Commands, Place, free_port, place_for, started
from tests.sandbox.harness import Running

DAYS = ("--from", "2026-01-01", "--to", "2026-01-31")
REASON = ("--reason", "the ticket says so")


@pytest.fixture
def served(tmp_path: Path, sqlite_url: str, sandbox: Running) -> Iterator[Place]:
    """A server with the admin API on a port of its own, as the commands beside it see it."""
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, ADMIN_API="true")
    place = place.but(ADMIN_PORT=str(free_port()))
    with started(place):
        yield place


def test_commands_do_and_print_the_same_on_another_machine(
    served: Place, tmp_path: Path, reelgate: Commands
) -> None:
    key = reelgate.run(served, "admin-keys", "create", "olga", "--scope", "root", "--quiet").out.strip()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    address = f"http://127.0.0.1:{served.settings['ADMIN_PORT']}"
    far = Place(folder, {"ADMIN_URL": address, "ADMIN_KEY": key})
    made = reelgate.run(far, "tenants", "create", "acme", "--time-zone", "Asia/Tokyo", *REASON)
    assert made.out.startswith("Created tenant acme (")
    kid = reelgate.run(far, "keys", "create", "--tenant", "acme", "--test", "--json", *REASON).json["kid"]
    top_up = ("ledger", "top-up", "5", "--tenant", "acme", "--reference", "INVOICE-1", *REASON)
    assert reelgate.run(far, *top_up).out.startswith("Entered: top-up of 5 credits.")
    same: list[tuple[str, ...]] = [
        ("tenants", "list"),
        ("tenants", "list", "--json"),
        ("tenants", "show", "acme"),
        ("keys", "list", "--tenant", "acme", "--used-before", "2030-01-01"),
        ("keys", "show", kid),
        ("tenants", "set-queueing", "acme", "on", "--weight", "3", *REASON),
        ("tenants", "set-media-checks", "acme", "default", *REASON),
        ("tenants", "set-origins", "acme", *REASON),
        ("tenants", "rename", "acme", "acme", *REASON),
        ("keys", "narrow", kid, "--scope", "read", *REASON),
        ("keys", "set-queueing", kid, "off", *REASON),
        ("limits", "set", "credits-day=1.5", "--tenant", "acme", "--end-user", "ann", *REASON),
        ("limits", "list"),
        ("dispatch", "pause", "acme", *REASON),
        ("dispatch", "status", "--json"),
        ("dispatch", "resume", "--live", *REASON),
        top_up,
        ("ledger", "list", "--tenant", "acme", "--json"),
        ("ledger", "verify"),
        ("credentials", "list"),
        ("requests", "list", "--tenant", "acme", "--json"),
        ("models", "list"),
        ("usage", "--by", "month", "--group-by", "tenant"),
        ("usage", "--csv"),
        ("thresholds", "list"),
        ("statements", "list", "--tenant", "acme", "--json"),
        ("statements", "verify"),
        ("statements", "close", *REASON),
        (
            *("ledger", "reprice", "--model", "acme/video", "--version", "1", "--price", "1"),
            *DAYS,
            "--dry-run",
        ),
    ]
    for one in same:
        assert reelgate.run(far, *one) == reelgate.run(served, *one), one
    reelgate.run(far, "limits", "override", "in-flight=9", "--tenant", "acme", "--hours", "1", *REASON)
    same_again = ("limits", "overrides", "--json")
    assert reelgate.run(far, *same_again) == reelgate.run(served, *same_again)
    refused: list[tuple[str, ...]] = [
        ("tenants", "show", "nobody"),
        ("tenants", "create", "acme", *REASON),
        ("keys", "create", "--tenant", "acme", "--scope", "all", "--model", "no/such", *REASON),
        ("keys", "narrow", kid, "--scope", "submit", *REASON),
        ("keys", "revoke", "nobodyskid00", *REASON),
        ("statements", "show", "2026-01", "--tenant", "acme"),
        ("requests", "resolve", "no-such-request", "--charged", *REASON),
    ]
    for one in refused:
        assert reelgate.run(far, *one, expect=1) == reelgate.run(served, *one, expect=1), one
    assert "--reason" in reelgate.run(far, "tenants", "disable", "acme", expect=1).err
    bill = tmp_path / "bill.csv"
    for text in ("request_id,cost\nnobodys,0.25\n", "request_id,cost\na\n,1\n"):
        bill.write_text(text)
        reconcile = ("ledger", "reconcile", str(bill), *DAYS)
        assert reelgate.run(far, *reconcile, expect=1) == reelgate.run(served, *reconcile, expect=1)
    # The key is no key on the public port, which has no such address; and without its partner it is nothing.
    lost = reelgate.run(far.but(ADMIN_URL=served.url), "tenants", "list", expect=1)
    assert "there is no admin API at" in lost.err
    assert "set together" in reelgate.run(far.but(ADMIN_KEY=None), "tenants", "list", expect=1).err
    reelgate.run(far, "admin-keys", "revoke", key.split("_")[2], *REASON)
    assert "This admin key is revoked." in reelgate.run(far, "tenants", "list", expect=1).err
