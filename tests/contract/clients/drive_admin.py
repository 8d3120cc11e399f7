"""Drives the admin API with the client that openapi-python-client made; run by that client's own Python."""

import os
import sys
import uuid
from typing import Any

from reelgate_admin.api.audit_log import list_audit_entries, verify_audit_log
from reelgate_admin.api.ledger import enter_top_up
from reelgate_admin.api.tenants import create_tenant, get_tenant, list_tenants, rename_tenant
from reelgate_admin.api.usage import get_usage
from reelgate_admin.client import AuthenticatedClient
from reelgate_admin.models import CreateTenantBody, EnterTopUpBody, GetUsageMode, Problem, RenameTenantBody

URL, KEY = sys.argv[1], os.environ["KEY"]
WHY = "the ticket says so"


def main() -> None:
    client = AuthenticatedClient(base_url=URL, token=KEY)

    def call(operation: Any, *path: str, **more: Any) -> Any:
        answer = operation.sync(*path, client=client, **more)
        assert answer is not None
        return answer

    once = str(uuid.uuid4())
    body = CreateTenantBody(name="partner", reason=WHY, time_zone="Africa/Cairo")
    made = [call(create_tenant, body=body, idempotency_key=once) for _ in range(2)]
    assert made[0] == made[1]
    assert (made[0].name, made[0].time_zone) == ("partner", "Africa/Cairo")
    assert "partner" in {one.name for one in call(list_tenants).tenants}

    tag = get_tenant.sync_detailed("partner", client=client).headers["ETag"]
    edit = {"body": RenameTenantBody(new_name="friend", reason=WHY), "if_match": tag}
    assert call(rename_tenant, "partner", idempotency_key=str(uuid.uuid4()), **edit).name == "friend"
    stale = call(rename_tenant, "friend", idempotency_key=str(uuid.uuid4()), **edit)
    assert isinstance(stale, Problem)
    assert stale.code == "precondition_failed"

    top_up = EnterTopUpBody.from_dict({"tenant": "friend", "amount": "5", "reason": WHY})
    assert not isinstance(call(enter_top_up, body=top_up, idempotency_key=str(uuid.uuid4())), Problem)
    usage = call(get_usage, tenant="friend", mode=GetUsageMode.LIVE)
    assert not isinstance(usage, Problem)
    assert usage.total.added_microcredits == 5_000_000

    assert {one.reason for one in call(list_audit_entries).entries} >= {WHY}
    assert call(verify_audit_log).first_break is None
    refused = call(create_tenant, body=CreateTenantBody(name="", reason=WHY), idempotency_key=once + "2")
    assert isinstance(refused, Problem)


main()
