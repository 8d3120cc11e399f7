"""Where files beside the package are: `migrations`, `docs`, `README.md`.

In a checkout they lie beside `app/`; the wheel has them inside the package.
"""

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent
_IN_THE_WHEEL: Final = _PACKAGE / "_shipped"


def root() -> Path:
    """Returns the folder that holds `migrations`, `docs` and `README.md`."""
    return _IN_THE_WHEEL if _IN_THE_WHEEL.is_dir() else _PACKAGE.parent
