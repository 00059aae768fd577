"""Import the public names of a package on first use."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Build a package's `__getattr__` (PEP 562), which imports each public name from its module on first use.

    Importing torch takes 2 s and 150 MB, and processes that only read, tokenize or write must not pay for it.

    Args:
        package: the package's `__name__`.
        modules: the module of each public name, relative to the package.
    """

    def get_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return get_name
