"""What RunComfy is sent in place of references to uploaded files: the row and its fingerprint keep these."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.catalog.findings import fragment
from app.catalog.model import Model
from app.catalog.validate import Path, media_texts, with_texts
from app.files.sending import FileGoneError, FileSender
from app.generations.store import Generation
from app.kit.json import dumps, parse_strict
from app.media.references import PREFIX, id_in
from app.quotas.account import Owner

_MARK = PREFIX.encode()


class Models(Protocol):
    """The part of the catalogue that is needed here."""

    @property
    def models(self) -> Mapping[str, Model]:
        """All models, by their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceResolver:
    """Replaces references in an input right before it is sent."""

    catalog: Models
    sender: FileSender

    def has_any(self, body: bytes) -> bool:
        """Returns whether an input may refer to uploaded files."""
        return _MARK in body

    async def resolved(self, generation: Generation, body: bytes) -> bytes:
        """Returns the input to send, where `has_any` says that it may refer to uploaded files.

        Raises:
            FileGoneError: a file is not there any more, or the model is not in the catalogue any more, or no
                place that is known for files has the reference any more.
            StorageError, Problem: a file cannot be read now.

        """
        model = self.catalog.models.get(generation.model_id)
        if model is None:
            raise FileGoneError
        value: dict[str, Any] = parse_strict(body)
        ids = _file_ids(generation, model, value)
        if not ids:
            return body  # a prompt that has the word
        owner = Owner(generation.tenant_id, generation.mode)
        texts = await self.sender.texts_for(owner, set(ids.values()))
        return dumps(with_texts(value, {path: texts[file_id] for path, file_id in ids.items()}))


def _file_ids(generation: Generation, model: Model, value: dict[str, Any]) -> dict[Path, str]:
    """Returns the ids of all files that the input refers to, by their paths.

    The model may have had other places for files when the input was judged, so those count that were judged
    then. Where none was, a reference at any other place is no file that could be sent.
    """
    now = {path for path, _ in media_texts(model, value)}
    judged = None if generation.media is None else {one["pointer"] for one in generation.media}
    ids = {}
    for path, file_id in _references(value):
        if path in now or (judged is not None and fragment(path) in judged):
            ids[path] = file_id
        elif judged is None:
            raise FileGoneError
    return ids


def _references(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yields the ids in all texts that are references and nothing else, with their paths."""
    if isinstance(value, str):
        if (file_id := id_in(value)) is not None:
            yield path, file_id
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in inner:
        yield from _references(one, (*path, step))
