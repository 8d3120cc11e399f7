"""Inspecting a request's input: against the model's schema, and its files by fetching what tells their facts.

Everything that is wrong is found at once, before any money moves. What was found is stored with the request.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from app.auth.principal import Principal
from app.auth.tenants import MediaChecks
from app.catalog import bounds
from app.catalog.bounds import violations_of_bounds
from app.catalog.findings import fragment
from app.catalog.media.judge import faults_of, size_limit
from app.catalog.media.policy import MediaPolicy
from app.catalog.model import Model
from app.catalog.schema import MediaInput
from app.catalog.validate import (
    MAX_VIOLATIONS,
    MORE,
    Path,
    Read,
    read,
    violations,
    with_texts,
)
from app.errors import (
    INVALID_INPUT,
    MEDIA_UNAVAILABLE,
    MEDIA_UNREACHABLE,
    OUT_OF_BOUNDS,
    FieldError,
    Problem,
)
from app.files.references import ReferenceRefused, References
from app.media.data_uri import DataURIRefused, Unpacked, is_data_uri, unpack
from app.media.facts import Facts, UnreadableError
from app.media.probe import Prober, UnreachableError
from app.media.references import id_in, is_reference

_RETRY_AFTER_S = 5
_IN_A_THREAD = 65_536  # characters of files by value from which they are not unpacked on the event loop
_NOT_FETCHED = frozenset({MEDIA_UNREACHABLE.code, MEDIA_UNAVAILABLE.code})


@dataclass(frozen=True, slots=True)
class InspectedFile:
    """One file of an input: its JSON pointer, its facts, and what is wrong with it.

    `facts` is None where the file could not be fetched or read.
    """

    pointer: str
    facts: Facts | None
    errors: tuple[FieldError, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object that is stored with the request."""
        facts = asdict(self.facts) if self.facts is not None else dict.fromkeys(Facts.__slots__)
        return {
            "pointer": self.pointer,
            **facts,
            "errors": [{"code": one.code, "detail": one.detail} for one in self.errors],
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of an inspection: all violations of the schema, and all files.

    `body` is the input to send: the caller's, with files by value in their one form. `files` is None where
    files were not inspected. Where the inspection is not `binding`, faults of files are stored but do not
    refuse the input.
    """

    body: dict[str, Any]
    violations: Sequence[FieldError]
    files: Sequence[InspectedFile] | None
    binding: bool

    @property
    def errors(self) -> list[FieldError]:
        """The errors that refuse the input, ordered by their place in it.

        There are at most `MAX_VIOLATIONS`; the last one says so where there are more.
        """
        of_files = [one for file in self.files or () for one in file.errors] if self.binding else []
        if not self.violations and not of_files:
            return []
        more = [one for one in self.violations if one.code == MORE]
        others = [one for one in self.violations if one.code != MORE]
        return [*sorted([*others, *of_files], key=_place)[: MAX_VIOLATIONS - len(more)], *more]

    @property
    def media(self) -> list[dict[str, Any]] | None:
        """The documents of the files, to be stored with the request; None where files were not inspected."""
        return None if self.files is None else [file.document for file in self.files]

    def check(self, model_id: str) -> None:
        """Refuses the input if anything is wrong with it.

        Raises:
            Problem: INVALID_INPUT; OUT_OF_BOUNDS where the only violations are of a client token's narrower
                bounds; MEDIA_UNAVAILABLE where all that is wrong is that files could not be fetched now,
                MEDIA_UNREACHABLE where some could not be reached at all.

        """
        errors = self.errors
        if not errors:
            return
        count = "1 violation" if len(errors) == 1 else f"{len(errors)} violations"
        if errors[-1].code == MORE:
            count = f"{MAX_VIOLATIONS} violations or more"
        codes = {one.code for one in errors}
        if bounds.CODE in codes <= {bounds.CODE, *_NOT_FETCHED}:
            raise Problem(
                OUT_OF_BOUNDS, f"{count} of the bounds of this client token; see `errors`.", errors=errors
            )
        if not codes <= _NOT_FETCHED:
            raise Problem(
                INVALID_INPUT, f"{count} of the input schema of {model_id}; see `errors`.", errors=errors
            )
        detail = (
            f"{'1 file' if len(errors) == 1 else f'{len(errors)} files'} could not be fetched; see `errors`."
        )
        if MEDIA_UNREACHABLE.code in codes:
            raise Problem(MEDIA_UNREACHABLE, detail, errors=errors)
        raise Problem(MEDIA_UNAVAILABLE, detail, errors=errors, retry_after_s=_RETRY_AFTER_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Inspects inputs.

    `policies` say, by mode, which files may be sent. `checks` is what happens to files that break a rule
    where the tenant has no setting of its own. `within_s` is the number of seconds for all files of an input
    together.
    """

    prober: Prober
    references: References
    policies: Mapping[str, MediaPolicy]
    checks: MediaChecks
    within_s: float

    async def admit(self, principal: Principal, model: Model, body: dict[str, Any]) -> Inspection:
        """Returns the inspection of an input in which nothing is wrong.

        Raises:
            Problem: something is wrong with the input, as in `Inspection.check`.

        """
        inspection = await self.inspect(principal, model, body)
        inspection.check(model.model_id)
        return inspection

    async def inspect(self, principal: Principal, model: Model, body: dict[str, Any]) -> Inspection:
        """Returns what is wrong with an input, what was found out about its files, and what to send."""
        policy = self.policies[principal.mode]
        there = read(model, body)
        has_data = policy.data_uris and any(is_data_uri(text) for _, _, text in there.texts)
        unpacked = await _unpacked(there) if has_data else {}
        if unpacked:
            body = with_texts(body, {path: one.uri for path, one in unpacked.items()})
            there = read(model, body)
        found = violations(model, body, policy, unpacked, there)
        if principal.token is not None and principal.token.bounds is not None:
            found += violations_of_bounds(model, principal.token.bounds, body)
        has_references = any(is_reference(text) for _, _, text in there.texts)
        referred = await self._referred(principal, there) if has_references else {}
        errors = [FieldError(one.pointer, one.code, one.detail) for one in found]
        errors += [
            FieldError(pointer, "file_not_usable", str(one))
            for pointer, one in referred.items()
            if isinstance(one, ReferenceRefused)
        ]
        checks = principal.media_checks or self.checks
        if checks == "off":
            return Inspection(body, errors, None, binding=False)
        wrong = {one.pointer for one in errors}
        by_value: dict[str, Facts | UnreadableError] = {
            pointer: one for pointer, one in referred.items() if isinstance(one, Facts)
        }
        by_value |= {fragment(path): one.seen for path, one in unpacked.items()}
        inspections = [
            self._inspect_file(principal, media, pointer, by_value.get(pointer, value))
            for media, pointer, value in (
                (media, fragment(path), value) for media, path, value in there.texts
            )
            # A value that is refused already is not fetched, nor are the files of a list that is.
            if pointer not in wrong and pointer.rpartition("/")[0] not in wrong
        ]
        return Inspection(body, errors, await asyncio.gather(*inspections), binding=checks == "enforce")

    async def _referred(self, principal: Principal, there: Read) -> dict[str, Facts | ReferenceRefused]:
        """Returns the facts of the uploaded files in an input by their pointers, or why they are refused."""
        texts = ((path, id_in(text)) for _, path, text in there.texts)
        named = {fragment(path): file_id for path, file_id in texts if file_id is not None}
        return await self.references.facts(principal, named)

    async def _inspect_file(
        self, principal: Principal, media: MediaInput, pointer: str, value: str | Facts | UnreadableError
    ) -> InspectedFile:
        """Inspects a file by its URL, or by what is known of one that was sent by value."""
        try:
            facts = value if isinstance(value, Facts) else await self._facts(principal, media, value)
        except UnreadableError as error:
            return InspectedFile(pointer, None, (FieldError(pointer, "media_unreadable", str(error)),))
        except UnreachableError as error:
            return InspectedFile(pointer, None, (FieldError(pointer, error.code, str(error)),))
        faults = faults_of(media, facts)
        return InspectedFile(pointer, facts, tuple(FieldError(pointer, code, text) for code, text in faults))

    async def _facts(self, principal: Principal, media: MediaInput, value: str | UnreadableError) -> Facts:
        if isinstance(value, UnreadableError):
            raise value
        return await self.prober.probe(
            value,
            tenant_id=principal.tenant_id,
            mode=principal.mode,
            size_up_to=size_limit(media),
            within_s=self.within_s,
            part=None if principal.token is None else principal.end_user or principal.token.token_id,
        )


async def _unpacked(there: Read) -> dict[Path, Unpacked]:
    """Returns the input's files by value, by their paths, without those that cannot be read."""
    texts = {path: text for _, path, text in there.texts if is_data_uri(text)}
    if sum(map(len, texts.values())) < _IN_A_THREAD:
        return _unpack_all(texts)
    return await asyncio.to_thread(_unpack_all, texts)


def _unpack_all(texts: Mapping[Path, str]) -> dict[Path, Unpacked]:
    unpacked = {}
    for path, text in texts.items():
        with suppress(DataURIRefused):
            unpacked[path] = unpack(text)
    return unpacked


def _place(error: FieldError) -> list[tuple[int, int, str]]:
    """Returns the sort key of an error: its place in the input, with array elements in numeric order."""
    tokens = error.pointer.split("/")[1:]
    return [(0, int(one), "") if one.isdecimal() and len(one) < 10 else (1, 0, one) for one in tokens]  # noqa: PLR2004 - no array is that long
