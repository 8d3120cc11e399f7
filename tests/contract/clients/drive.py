"""Drives a gateway with the client that openapi-python-client made; run by that client's own Python."""

import os
import sys
import uuid
from collections.abc import Callable
from typing import Any

from reelgate_client.api.events import stream_request_events
from reelgate_client.api.models import (
    get_model,
    list_model_categories,
    list_models,
    submit,
    submit_bytedance_dreamina_3_0_image_to_video,
)
from reelgate_client.api.quota import get_quota, quote
from reelgate_client.api.requests import cancel, get_request, get_result, get_status, list_requests
from reelgate_client.client import AuthenticatedClient
from reelgate_client.models import Problem, QuoteBody, SubmitBody, Submitted
from reelgate_client.models import SubmitBytedanceDreamina30ImageToVideoBody as Input

MODEL = "bytedance/dreamina-3-0/image-to-video"
URL, KEY, PICTURE = sys.argv[1], os.environ["KEY"], os.environ["PICTURE"]


def main() -> None:
    client = AuthenticatedClient(base_url=URL, token=KEY)

    def call(operation: Any, *path: str, **more: Any) -> Any:
        answer = operation.sync(*path, client=client, **more)
        assert answer is not None
        return answer

    listed = call(list_models, search="dreamina", include_schema=True)
    assert listed.models[0].input_schema["type"] == "object"
    assert call(list_model_categories).categories == ["image-to-video"]
    assert call(get_model, MODEL).inputs[0] == "image_urls"
    body = {"image_urls": [PICTURE], "prompt": "a boat [sandbox:canned]"}
    assert call(quote, MODEL, body=QuoteBody.from_dict(body)).price_microcredits > 0

    once = str(uuid.uuid4())
    made = [call(submit, MODEL, body=SubmitBody.from_dict(body), idempotency_key=once) for _ in range(2)]
    assert isinstance(made[0], Submitted)
    assert made[0] == made[1]
    request_id = made[0].request_id
    assert call(get_status, request_id).status in {"in_queue", "in_progress", "completed"}
    result = ended(lambda: call(get_result, request_id, include_cost=True))
    assert (result.status, result.output.additional_keys) == ("succeeded", ["video"])
    assert call(get_request, request_id).events[-1].state == "completed"
    assert "event: state" in call(stream_request_events, request_id)

    typed = Input.from_dict({**body, "prompt": "[sandbox:queued]", "number_of_frames": 121})
    queued = call(submit_bytedance_dreamina_3_0_image_to_video, body=typed)
    assert call(cancel, queued.request_id).outcome == "cancelled"
    assert len(call(list_requests).requests) == 2
    assert call(get_quota).mode == "test"

    refused = call(submit, MODEL, body=SubmitBody.from_dict({}))
    assert isinstance(refused, Problem)
    assert [one.pointer for one in refused.errors] == ["#/image_urls", "#/prompt"]


def ended(look: Callable[[], Any]) -> Any:
    while True:
        found = look()
        if found.status in {"succeeded", "failed", "cancelled"}:
            return found


main()
