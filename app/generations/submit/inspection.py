"""Inspecting a request's input: against the model's schema, and its files by fetching what tells their facts.

Everything that is wrong is found at once, before any money moves. What was found is stored with the request.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.auth.principal import Principal
from app.auth.tenants import MediaChecks
from app.catalog import bounds
from app.catalog.bounds import violations_of_bounds
from app.catalog.media.judge import faults_of, size_limit
from app.catalog.media.policy import MediaPolicy, data_of, is_data_uri
from app.catalog.model import Model
from app.catalog.schema import MediaInput
from app.catalog.validate import MAX_VIOLATIONS, media_values, violations
from app.errors import INVALID_INPUT, MEDIA_UNREACHABLE, OUT_OF_BOUNDS, FieldError, Problem
from app.media.facts import Facts, UnreadableError, facts_of
from app.media.probe import Prober, UnreachableError

_RETRY_AFTER_S = 5


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

    `files` is None where files were not inspected. Where the inspection is not `binding`, faults of files are
    stored but do not refuse the input.
    """

    violations: Sequence[FieldError]
    files: Sequence[InspectedFile] | None
    binding: bool

    @property
    def errors(self) -> list[FieldError]:
        """The errors that refuse the input, ordered by their place in it, at most MAX_VIOLATIONS."""
        of_files = [one for file in self.files or () for one in file.errors] if self.binding else []
        return sorted([*self.violations, *of_files], key=_place)[:MAX_VIOLATIONS]

    @property
    def media(self) -> list[dict[str, Any]] | None:
        """The documents of the files, to be stored with the request; None where files were not inspected."""
        return None if self.files is None else [file.document for file in self.files]

    def check(self, model_id: str) -> None:
        """Refuses the input if anything is wrong with it.

        Raises:
            Problem: INVALID_INPUT; OUT_OF_BOUNDS where the only violations are of a client token's narrower
                bounds; MEDIA_UNREACHABLE where nothing else is wrong, so that another try may succeed.

        """
        errors = self.errors
        if not errors:
            return
        count = "1 violation" if len(errors) == 1 else f"{len(errors)} violations"
        codes = {one.code for one in errors}
        if bounds.CODE in codes <= {bounds.CODE, MEDIA_UNREACHABLE.code}:
            raise Problem(
                OUT_OF_BOUNDS, f"{count} of the bounds of this client token; see `errors`.", errors=errors
            )
        if codes != {MEDIA_UNREACHABLE.code}:
            raise Problem(
                INVALID_INPUT, f"{count} of the input schema of {model_id}; see `errors`.", errors=errors
            )
        raise Problem(
            MEDIA_UNREACHABLE,
            "1 file could not be fetched; see `errors`."
            if len(errors) == 1
            else f"{len(errors)} files could not be fetched; see `errors`.",
            errors=errors,
            retry_after_s=_RETRY_AFTER_S,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Inspects inputs.

    `policies` say, by mode, which files may be sent. `checks` is what happens to files that break a rule
    where the tenant has no setting of its own. `within_s` is the number of seconds for all files of an input
    together.
    """

    prober: Prober
    policies: Mapping[str, MediaPolicy]
    checks: MediaChecks
    within_s: float

    async def admit(
        self, principal: Principal, model: Model, body: dict[str, Any]
    ) -> list[dict[str, Any]] | None:
        """Returns the documents of an input's files, as `Inspection.media` does, unless it is refused.

        Raises:
            Problem: something is wrong with the input, as in `Inspection.check`.

        """
        inspection = await self.inspect(principal, model, body)
        inspection.check(model.model_id)
        return inspection.media

    async def inspect(self, principal: Principal, model: Model, body: dict[str, Any]) -> Inspection:
        """Returns everything that is wrong with an input, and what was found out about its files."""
        found = violations(model, body, self.policies[principal.mode])
        if principal.token is not None and principal.token.bounds is not None:
            found += violations_of_bounds(model, principal.token.bounds, body)
        errors = [FieldError(one.pointer, one.code, one.detail) for one in found]
        checks = principal.media_checks or self.checks
        if checks == "off":
            return Inspection(errors, None, binding=False)
        wrong = {one.pointer for one in found}
        inspections = [
            self._inspect_file(principal, media, pointer, value)
            for media, pointer, value in media_values(model, body)
            # A value that is refused already is not fetched, nor are the files of a list that is.
            if pointer not in wrong and pointer.rpartition("/")[0] not in wrong
        ]
        return Inspection(errors, await asyncio.gather(*inspections), binding=checks == "enforce")

    async def _inspect_file(
        self, principal: Principal, media: MediaInput, pointer: str, value: str
    ) -> InspectedFile:
        try:
            facts = await self._facts(principal, media, value)
        except UnreadableError as error:
            return InspectedFile(pointer, None, (FieldError(pointer, "media_unreadable", str(error)),))
        except UnreachableError:
            # One wording for every reason, so that callers cannot probe our network through the answer.
            unreachable = FieldError(
                pointer, MEDIA_UNREACHABLE.code, "could not be fetched from this address in time"
            )
            return InspectedFile(pointer, None, (unreachable,))
        faults = faults_of(media, facts)
        return InspectedFile(pointer, facts, tuple(FieldError(pointer, code, text) for code, text in faults))

    async def _facts(self, principal: Principal, media: MediaInput, value: str) -> Facts:
        if is_data_uri(value):
            return facts_of(data_of(value), whole=True)
        return await self.prober.probe(
            value,
            tenant_id=principal.tenant_id,
            mode=principal.mode,
            size_up_to=size_limit(media),
            within_s=self.within_s,
            part=None if principal.token is None else principal.end_user or principal.token.token_id,
        )


def _place(error: FieldError) -> list[tuple[int, int, str]]:
    """Returns the sort key of an error: its place in the input, with array elements in numeric order."""
    tokens = error.pointer.split("/")[1:]
    return [(0, int(one), "") if one.isdecimal() and len(one) < 10 else (1, 0, one) for one in tokens]  # noqa: PLR2004 - no array is that long
