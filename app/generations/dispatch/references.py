"""What RunComfy is sent in place of references to uploaded files: the row and its fingerprint keep these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.catalog.model import Model
from app.catalog.validate import media_texts, with_texts
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

    async def resolved(self, generation: Generation, body: bytes) -> bytes:
        """Returns the input to send: as it is, where it refers to no uploaded file.

        Raises:
            FileGoneError: a file is not there any more, or the model is not in the catalogue any more.
            StorageError, Problem: a file cannot be read now.

        """
        if _MARK not in body:
            return body
        model = self.catalog.models.get(generation.model_id)
        if model is None:
            raise FileGoneError
        value: dict[str, Any] = parse_strict(body)
        named = {path: id_in(text) for path, text in media_texts(model, value)}
        ids = {path: file_id for path, file_id in named.items() if file_id is not None}
        if not ids:
            return body  # a prompt that has the word
        owner = Owner(generation.tenant_id, generation.mode)
        texts = await self.sender.texts_for(owner, set(ids.values()))
        return dumps(with_texts(value, {path: texts[file_id] for path, file_id in ids.items()}))
