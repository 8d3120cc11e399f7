"""Which of its tenant's generations a caller may see.

A caller with an API key sees every generation of its tenant and mode; a client token may see fewer.
"""

from app.auth.client_tokens import ClientToken
from app.auth.principal import Principal
from app.generations.store import Generation


def visible_to(token: ClientToken | None) -> dict[str, str]:
    """Returns the fields that a generation must match to be visible to the caller.

    They come on top of its tenant and mode, and all of them must match. `token` is the caller's client token;
    None, for an API key, gives no further condition.
    """
    if token is None:
        return {}
    match token.visibility:
        case "request":
            wanted = {"generation_id": token.request_id}
        case "end_user":
            wanted = {"end_user": token.end_user}
        case "token":
            wanted = {"token_id": token.token_id}
    # A check constraint of the table guarantees that the value is set. An empty string matches no row,
    # whereas an absent filter would show every row.
    return {name: value or "" for name, value in wanted.items()}


def is_visible(principal: Principal, generation: Generation) -> bool:
    """Returns whether the caller may see a generation: one of its own tenant and mode, and its token's."""
    return (
        generation.tenant_id == principal.tenant_id
        and generation.mode == principal.mode
        and can_see(principal.token, generation)
    )


def can_see(token: ClientToken | None, generation: Generation) -> bool:
    """Returns whether the caller may see a generation of its own tenant and mode."""
    has = {
        "generation_id": generation.id,
        "token_id": generation.token_id,
        "end_user": generation.end_user,
    }
    return all(has[name] == value for name, value in visible_to(token).items())
