"""What things cost a tenant is told to its own keys of the right scope and mode, and to nobody else."""

import pytest

from app.auth.keys import SCOPES
from tests.contract.published import problem_of
from tests.harness import World

pytestmark = pytest.mark.anyio
NEEDED = {
    "/v1/usage?from=2026-09-01&to=2026-10-31&group_by=key&group_by=model&group_by=end_user": "usage:read",
    "/v1/usage?from=2026-09-01&to=2026-10-31&format=csv": "usage:read",
    "/v1/ledger": "usage:read",
    "/v1/ledger?request_id={request_id}": "usage:read",
    "/v1/statements": "usage:read",
    "/v1/statements/2026-09": "usage:read",
    "/v1/statements/2026-09.csv": "usage:read",
    "/v1/statements/2026-09.pdf": "usage:read",
    "/v1/refusals": "read",
}


async def test_every_scope_mode_tenant_and_token_reads_what_it_may(world: World) -> None:
    """Generated: each address with a key of each scope, of the other mode, of another tenant, and a token."""
    request_id = await world.submitted()
    await world.finish(request_id)
    await world.client.get("/v1/requests/none/status")
    token = (await world.client.post("/v1/client-tokens", json={})).json()["token"]
    narrow = {one: await world.another_key(scopes=[one]) for one in SCOPES}
    others = [
        await world.another_key(tenant="stranger", scopes=[*narrow]),
        await world.another_key(mode="live", scopes=[*narrow]),
    ]
    world.clock.advance(40 * 86_400)
    secrets = [one.encode() for one in (request_id, world.key.split("_")[2], world.tenant_id)]
    for template, needed in NEEDED.items():
        path = template.format(request_id=request_id)
        for scope, key in narrow.items():
            answer = await world.client.get(path, headers=world.with_key(key))
            if scope == needed:
                assert answer.status_code == 200, (path, scope, answer.text)
            else:
                problem_of(answer, 403, "insufficient_scope")
        for key in others:
            answer = await world.client.get(path, headers=world.with_key(key))
            if "/2026-09" in path:
                problem_of(answer, 404, "statement_not_found")
            else:
                assert answer.status_code == 200, path
                assert not [one for one in secrets if one in answer.content], path
        answer = await world.client.get(path, headers=world.with_key(token))
        assert answer.status_code in {401, 403}, path
        assert not [one for one in secrets if one in answer.content.replace(path.encode(), b"")], path
