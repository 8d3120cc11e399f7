"""A submit with an uploaded file: judged by what is known, recorded by its id, sent as a link or by value."""

import base64
from typing import Any

import pytest

from app.db.schema.tables import tenants
from app.files.references import References
from app.generations.dispatch import references
from app.media.facts import Facts
from tests.files.doomed import principal_of
from tests.files.test_uploads import PICTURE, token, upload, uploaded
from tests.harness import SUBMIT, World
from tests.pictures import jpeg, png
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio

ABSENT = "0190a0a0-0000-7000-8000-000000000000"


def body(world: World, *references: str) -> dict[str, Any]:
    return world.body() | {"image_urls": list(references)}


async def test_runcomfy_gets_a_link_of_ours_and_the_record_keeps_the_id(world: World) -> None:
    file_id = await uploaded(world)
    sent = body(world, f"rg-file:{file_id}")
    answer = await world.client.post(SUBMIT, json=sent, headers={"Idempotency-Key": "once"})
    assert answer.status_code == 200, answer.text
    (received,) = world.received()
    (url,) = received["input"]["image_urls"]
    assert url.startswith("http://gateway.test/f/")
    linked = await world.client.get(url.removeprefix("http://gateway.test"), headers={"Authorization": ""})
    assert (linked.content, linked.headers["cross-origin-resource-policy"]) == (PICTURE, "cross-origin")
    record = await world.record(answer.json()["request_id"])
    assert record["input"] == sent
    assert "/f/" not in str(record)
    assert (record["media"][0]["type"], record["media"][0]["width"]) == ("image/png", 640)
    again = await world.client.post(SUBMIT, json=sent, headers={"Idempotency-Key": "once"})
    assert again.json()["request_id"] == answer.json()["request_id"]
    assert len(world.received()) == 1


class TestByValue:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"files_sent_as": "value", "max_data_uri_bytes": 4_000, "large_bodies_bytes": 100_000_000}

    async def test_runcomfy_gets_the_bytes_themselves(self, world: World) -> None:
        file_id = await uploaded(world)
        answer = await world.client.post(SUBMIT, json=body(world, f"rg-file:{file_id}"))
        assert answer.status_code == 200, answer.text
        (received,) = world.received()
        assert received["input"]["image_urls"] == [
            "data:image/png;base64," + base64.b64encode(PICTURE).decode()
        ]

    async def test_a_file_that_is_too_large_for_that_is_refused_before_anything_is_recorded(
        self, world: World
    ) -> None:
        file_id = await uploaded(world, jpeg(size_bytes=3_001))
        answer = await world.client.post(SUBMIT, json=body(world, f"rg-file:{file_id}"))
        assert answer.json()["errors"][0]["code"] == "file_not_usable"
        assert world.received() == []


async def test_files_by_value_fit_together_or_not_at_all(world: World) -> None:
    file_id = await uploaded(world)
    caller = principal_of(world.tenant_id, "")
    gateway = world.gateway
    references = References(db=gateway.db, clock=gateway.clock, max_bytes=2 * len(PICTURE))
    found = await references.facts(caller, {f"#/image_urls/{one}": file_id for one in range(3)})
    assert [isinstance(one, Facts) for one in found.values()] == [True, True, False]


async def test_files_of_others_of_the_other_mode_and_gone_ones_are_refused_alike(world: World) -> None:
    gone = await uploaded(world, jpeg())
    await world.client.delete(f"/v1/files/{gone}")
    old = await uploaded(world, jpeg(641), expires_in_s=60)
    world.clock.advance(61)
    of_another = await uploaded(world, key=await world.another_key(tenant="another"))
    of_live = await uploaded(world, key=await world.another_key(mode="live"))
    of_ada = await uploaded(world, key=await token(world, end_user="ada"), model_id=DREAMINA)
    mine = await uploaded(world)
    cases = [(world.key, one) for one in (gone, old, of_another, of_live, ABSENT)]
    cases += [(await token(world, end_user="bob"), one) for one in (of_ada, mine)]
    details = set()
    for key, file_id in cases:
        headers = world.with_key(key) | {"Idempotency-Key": "0123456789"}
        sent = body(world, f"rg-file:{file_id}")
        answer = await world.client.post(SUBMIT, json=sent, headers=headers)
        assert answer.status_code == 422, (file_id, answer.text)
        error = answer.json()["errors"][0]
        assert (error["pointer"], error["code"]) == ("#/image_urls/0", "file_not_usable")
        details.add(error["detail"])
        assert world.received() == []
    assert len(details) == 1
    for text in ("rg-file:", "rg-file:../../etc/passwd", "rg-file:" + "x" * 36, f"rg-file:{ABSENT}/x"):
        answer = await world.client.post(SUBMIT, json=body(world, text))
        assert "rg-file: and the id" in answer.json()["errors"][0]["detail"]


async def test_the_rules_of_the_model_hold_for_uploaded_files_without_a_fetch(world: World) -> None:
    small = await uploaded(world, png(64, 64))
    answer = await world.client.post(SUBMIT, json=body(world, f"rg-file:{small}"))
    assert answer.json()["errors"][0]["code"] == "media_rule"


async def test_a_request_whose_file_is_deleted_before_it_is_sent_ends_refunded_and_nothing_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = await uploaded(world)
    find = References.facts

    async def then_deleted(self: References, *args: Any) -> Any:
        facts = await find(self, *args)
        assert (await world.client.delete(f"/v1/files/{file_id}")).status_code == 204
        return facts

    monkeypatch.setattr(References, "facts", then_deleted)
    answer = await world.client.post(SUBMIT, json=body(world, f"rg-file:{file_id}"))
    assert (answer.status_code, answer.json()["code"]) == (422, "file_gone")
    record = await world.record(answer.json()["request_id"])
    assert (record["state"], record["charge"]) == ("rejected", "refunded")
    assert world.received() == []


@pytest.mark.parametrize("checks", ["enforce", "off"])
async def test_where_the_model_has_other_places_for_files_by_then_no_reference_is_sent_as_a_text(
    world: World, monkeypatch: pytest.MonkeyPatch, checks: str
) -> None:
    await world.gateway.db.write(
        lambda connection: connection.execute(tenants.update().values(media_checks=checks)) and None
    )
    file_id = await uploaded(world)
    monkeypatch.setattr(
        references, "media_texts", lambda *_: iter(())
    )  # the catalogue was replaced meanwhile
    answer = await world.client.post(SUBMIT, json=body(world, f"rg-file:{file_id}"))
    record = await world.record(answer.json()["request_id"])
    if checks == "enforce":  # its places are known by its record
        (received,) = world.received()
        assert received["input"]["image_urls"][0].startswith("http://gateway.test/f/")
        return
    assert (answer.status_code, answer.json()["code"]) == (422, "file_gone")
    assert (record["state"], record["charge"], world.received()) == ("rejected", "refunded", [])


async def test_a_prompt_may_say_rg_file_and_is_sent_as_it_is(world: World) -> None:
    answer = await world.client.post(SUBMIT, json=world.body() | {"prompt": f"rg-file:{ABSENT}"})
    assert answer.status_code == 200
    assert (await upload(world)).status_code == 201
