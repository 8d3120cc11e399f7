"""The public use cases of `app.admin`, found in all its rooms but that of the operations on them."""

import importlib
import inspect
import pkgutil

import app.admin
from app.admin import operations


def use_cases() -> dict[str, inspect.Signature]:
    """Every public use case of the package, by the last part of its module's name, and its own name."""
    found = {}
    for module in pkgutil.walk_packages(app.admin.__path__, "app.admin."):
        if module.name.startswith(operations.__name__):
            continue
        loaded = importlib.import_module(module.name)
        for name, function in inspect.getmembers(loaded, inspect.iscoroutinefunction):
            if function.__module__ == loaded.__name__ and not name.startswith("_"):
                found[f"{module.name.rpartition('.')[2]}.{name}"] = inspect.signature(function)
    return found
