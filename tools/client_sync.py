"""Makes the Python library's synchronous client from the asynchronous one, which is its only source."""

import re
from pathlib import Path
from typing import Final

from tools.client_types import ROOT, formatted

PACKAGE: Final = ROOT / "clients" / "python" / "src" / "reelgate_client"
_WORDS: Final = {
    "AsyncCalls": "Calls",
    "AsyncClient": "Client",
    "AsyncFollower": "Follower",
    "AsyncGenerator": "Generator",
    "AsyncHandle": "Handle",
    "AsyncReelgate": "Reelgate",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "_async": "_sync",
    "_primitives_async": "_primitives_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_lines": "iter_lines",
    "aiter_raw": "iter_raw",
    "aread": "read",
    "asynccontextmanager": "contextmanager",
    "task": "thread",
}
_HEAD: Final = "# Made from `_async` by `python -m tools.client_sync`: change that.\n"


def sources() -> dict[Path, str]:
    """Returns the text of each module of the synchronous client, formatted."""
    made = {}
    for source in sorted((PACKAGE / "_async").glob("*.py")):
        target = PACKAGE / "_sync" / source.name
        text = re.sub(r"\basync (?=def|with|for)|\bawait ", "", source.read_text(encoding="utf-8"))
        text = re.sub(r"\w+", lambda word: _WORDS.get(word[0], word[0]), text)
        if source.name == "__init__.py":
            text = '"""The client for threads."""\n'
        made[target] = formatted(_HEAD + text, target)
    return made


if __name__ == "__main__":
    for path, text in sources().items():
        path.write_text(text, encoding="utf-8")
