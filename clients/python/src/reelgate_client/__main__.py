"""The command: `python -m reelgate_client run MODEL --image a.jpg --prompt "…"`, with the file at its end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelgate_client import Reelgate, ReelgateError, __version__, files_of
from reelgate_client._bar import Show, bar
from reelgate_client.types import Model, Result

_USUAL_ERROR = 1
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command, and ends the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        with Reelgate(given.key, given.url) as client:
            return int(given.does(client, given) or 0)
    except ReelgateError as error:
        _tell(f"{error} [{error.code}]")
        if error.request_id:
            _tell(f"Its request is {error.request_id}.")
        return _USUAL_ERROR
    except (ValueError, OSError) as error:
        _tell(str(error))
        return _USUAL_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reelgate_client", description="Make media with Reelgate."
    )
    parser.add_argument("--version", action="version", version=f"reelgate-client {__version__}")
    parser.add_argument("--url", help="the gateway's address (default: REELGATE_URL)")
    parser.add_argument("--key", help="the API key (default: REELGATE_KEY, where nobody else can see it)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    make = commands.add_parser("run", help="submit, wait, and download what was made")
    make.add_argument("model", help="the model's id")
    make.add_argument("--prompt", help="its input `prompt`")
    make.add_argument(
        "--image", action="append", default=[], help="a picture: a file or an https URL; can be repeated"
    )
    make.add_argument(
        "--shrink", action="store_true", help="make files smaller where the model's rules ask for it"
    )
    make.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another input; VALUE is JSON or a text",
    )
    make.add_argument("--input", type=Path, help="a JSON file with inputs")
    make.add_argument(
        "--idempotency-key", help="your own name for this submit: repeating the command repeats nothing"
    )
    make.add_argument("--quote", action="store_true", help="print what it would cost, and submit nothing")
    make.set_defaults(does=_make)

    get = commands.add_parser(
        "get", help="wait for a request that was submitted before, and download what was made"
    )
    get.add_argument("request_id")
    get.set_defaults(does=lambda client, given: _finish(client, given, given.request_id))
    for one in (make, get):
        one.add_argument(
            "-o", "--output", type=Path, help="a file, or a folder (default: the current folder)"
        )

    models = commands.add_parser("models", help="list the models")
    models.add_argument("search", nargs="?", help="a part of an id, name or description")
    models.set_defaults(does=_list)
    return parser


def _make(client: Reelgate, given: argparse.Namespace) -> int:
    document = json.loads(given.input.read_text(encoding="utf-8")) if given.input else {}
    if not isinstance(document, dict):
        raise ValueError(f"{given.input} is no JSON object.")  # noqa: TRY004 - of what was written there
    if given.prompt is not None:
        document["prompt"] = given.prompt
    if given.image:
        document.update(_pictures(client, given))
    document.update(_assigned(one) for one in given.set)
    if given.quote:
        print(json.dumps(client.quote(given.model, document), indent=2, ensure_ascii=False))
        return 0
    handle = client.submit(given.model, document, idempotency_key=given.idempotency_key)
    _tell(f"The request is {handle.id}.")
    return _finish(client, given, handle.id)


def _assigned(text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not (name and mark):
        raise ValueError(f"--set takes NAME=VALUE, and not {text}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _pictures(client: Reelgate, given: argparse.Namespace) -> dict[str, Any]:
    """The input of the model that takes pictures, with those that were given."""
    name, is_list = picture_input(client.model(given.model))
    shrink_for = given.model if given.shrink else None
    sent = [
        one if one.startswith(("https://", "http://", "data:")) else client.upload(one, shrink_for=shrink_for)
        for one in given.image
    ]
    if not is_list and len(sent) > 1:
        raise ValueError(f"{given.model} takes one picture.")
    return {name: sent if is_list else sent[0]}


def picture_input(model: Model) -> tuple[str, bool]:
    """Returns the name of the input for pictures, and whether it is a list of them.

    Raises:
        ValueError: the model takes no pictures, or has several inputs for them.

    """
    properties: dict[str, Any] = (model.get("input_schema") or {}).get("properties", {})
    found = [
        name
        for name, one in properties.items()
        if "image_uri" in f"{one.get('format', '')}{(one.get('items') or {}).get('format', '')}"
    ]
    found = found or [name for name in properties if "image" in name]
    if len(found) != 1:
        known = f"several inputs for pictures ({', '.join(found)})" if found else "no input for pictures"
        raise ValueError(f"{model['model_id']} has {known}: use --set.")
    return found[0], properties[found[0]].get("type") == "array"


def _finish(client: Reelgate, given: argparse.Namespace, request_id: str) -> int:
    try:
        with bar() as show:
            result = client.wait(request_id, show.progress)
            for path in _download(client, result, given.output, show):
                print(path)
    except KeyboardInterrupt:
        _tell(f"Not waiting any longer; the request goes on: python -m reelgate_client get {request_id}")
        return _INTERRUPTED
    return 0


def _download(client: Reelgate, result: Result, output: Path | None, show: Show) -> list[Path]:
    urls = files_of(result)
    if len(urls) > 1 and output is not None and not output.is_dir():
        raise ValueError(f"The result has {len(urls)} files: name a folder that exists.")
    return [client.download(url, output, on_bytes=show.bytes).path for url in urls]


def _list(client: Reelgate, given: argparse.Namespace) -> int:
    for one in client.models(search=given.search, limit=500)["models"]:
        print(f"{one['model_id']}  {one['base_price_usd']} USD/{one['price_unit']}  {one['display_name']}")
    return 0


def _tell(text: str) -> None:
    print(f"reelgate: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()
