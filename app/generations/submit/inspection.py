"""Inspecting a request's input: by the model's schema, and its files by what can be seen of them.

Everything that is wrong is found at once, before any money moves. What was seen is kept with the request.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.auth.principal import Principal
from app.auth.tenants import MediaChecks
from app.catalog import bounds
from app.catalog.bounds import beyond
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
class SeenFile:
    """One file of an input: where it stands, what it is (None: it could not be told), and what is wrong."""

    pointer: str
    facts: Facts | None
    errors: tuple[FieldError, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """As it is kept with the request."""
        facts = asdict(self.facts) if self.facts is not None else dict.fromkeys(Facts.__slots__)
        return {
            "pointer": self.pointer,
            **facts,
            "errors": [{"code": one.code, "detail": one.detail} for one in self.errors],
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found: every violation of the schema, and every file, None where nobody looked.

    Where they are not `binding`, what is wrong with files is only noted.
    """

    violations: Sequence[FieldError]
    files: Sequence[SeenFile] | None
    binding: bool

    @property
    def errors(self) -> list[FieldError]:
        """Everything that refuses the input, by place, at most a thousand."""
        of_files = [one for file in self.files or () for one in file.errors] if self.binding else []
        return sorted([*self.violations, *of_files], key=_place)[:MAX_VIOLATIONS]

    @property
    def media(self) -> list[dict[str, Any]] | None:
        """What was seen of the files, as it is kept with the request."""
        return None if self.files is None else [file.document for file in self.files]

    def check(self, model_id: str) -> None:
        """Refuse what is wrong.

        Raises:
            Problem: INVALID_INPUT; OUT_OF_BOUNDS where a client token allows less than the model; and
                MEDIA_UNREACHABLE where nothing else is wrong, so that another try may do.

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


@dataclass(frozen=True, slots=True)
class Inspector:
    """Inspects inputs.

    `policies` are what each kind of key may send, `checks` what becomes of files where the tenant has no own
    rule, `within_s` the seconds for all files of an input together.
    """

    prober: Prober
    policies: Mapping[str, MediaPolicy]
    checks: MediaChecks
    within_s: float

    async def inspect(self, principal: Principal, model: Model, body: dict[str, Any]) -> Inspection:
        """Everything that is wrong with an input, and what was seen of its files."""
        found = violations(model, body, self.policies[principal.mode])
        if principal.token is not None and principal.token.bounds is not None:
            found += beyond(model, principal.token.bounds, body)
        errors = [FieldError(one.pointer, one.code, one.detail) for one in found]
        checks = principal.media_checks or self.checks
        if checks == "off":
            return Inspection(errors, None, binding=False)
        wrong = {one.pointer for one in found}
        looks = [
            self._look(principal, media, pointer, value)
            for media, pointer, value in media_values(model, body)
            # A list that is too long is refused for that: its files are not looked at.
            if pointer not in wrong and pointer.rpartition("/")[0] not in wrong
        ]
        return Inspection(errors, await asyncio.gather(*looks), binding=checks == "enforce")

    async def _look(self, principal: Principal, media: MediaInput, pointer: str, value: str) -> SeenFile:
        try:
            facts = await self._facts(principal, media, value)
        except UnreadableError as error:
            return SeenFile(pointer, None, (FieldError(pointer, "media_unreadable", str(error)),))
        except UnreachableError:
            # In the same words whatever the reason: the answer is not to be asked about our network.
            unreachable = FieldError(
                pointer, MEDIA_UNREACHABLE.code, "could not be fetched from this address in time"
            )
            return SeenFile(pointer, None, (unreachable,))
        faults = faults_of(media, facts)
        return SeenFile(pointer, facts, tuple(FieldError(pointer, code, text) for code, text in faults))

    async def _facts(self, principal: Principal, media: MediaInput, value: str) -> Facts:
        if is_data_uri(value):
            return facts_of(data_of(value), whole=True)
        return await self.prober.look(
            value,
            tenant_id=principal.tenant_id,
            mode=principal.mode,
            size_up_to=size_limit(media),
            within_s=self.within_s,
            part=None if principal.token is None else principal.end_user or principal.token.token_id,
        )


def _place(error: FieldError) -> list[tuple[int, int, str]]:
    """Where it stands: elements by their number."""
    tokens = error.pointer.split("/")[1:]
    return [(0, int(one), "") if one.isdecimal() and len(one) < 10 else (1, 0, one) for one in tokens]  # noqa: PLR2004 - no array is that long
