"""FastAPI, imported without the parts that serving does not use: a tenth of a start, and some memory."""

import sys

from pydantic import BaseModel


def import_fastapi() -> None:
    """Imports FastAPI. It does nothing where something has imported it before."""
    # FastAPI asks of every parameter whether its type is a model of Pydantic 1, and imports all of that to
    # find out. We have none; with this entry the import fails, as where Pydantic comes without it.
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # what "not there" is written as
    # Its models of OpenAPI documents inherit this: they are built when a document is made, not here.
    BaseModel.model_config["defer_build"] = True
    try:
        import fastapi  # noqa: F401, PLC0415 - it is imported for what that does, and only now
    finally:
        del BaseModel.model_config["defer_build"]
