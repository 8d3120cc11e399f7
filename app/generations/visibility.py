"""Which of its tenant's generations a caller may see: all with an API key, fewer with a client token."""

from app.auth.client_tokens import ClientToken
from app.generations.store import Generation


def visible_to(token: ClientToken | None) -> dict[str, str]:
    """What a request has that a caller may see, beside its tenant and mode; all of it has to agree."""
    if token is None:
        return {}
    match token.visibility:
        case "request":
            wanted = {"generation_id": token.request_id}
        case "end_user":
            wanted = {"end_user": token.end_user}
        case "token":
            wanted = {"token_id": token.token_id}
    # The table lets none be without: a filter that is not there would show everything.
    return {name: value or "" for name, value in wanted.items()}


def can_see(token: ClientToken | None, generation: Generation) -> bool:
    """Whether a caller may see a request of its tenant and mode."""
    has = {
        "generation_id": generation.id,
        "token_id": generation.token_id,
        "end_user": generation.end_user,
    }
    return all(has[name] == value for name, value in visible_to(token).items())
