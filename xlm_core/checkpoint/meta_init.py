"""Build modules without allocating or initializing their weights, before a checkpoint is loaded into them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable


@contextmanager
def on_meta_device() -> Generator[None]:
    """Build modules on the meta device and skip `torch.nn.init`, inside this context.

    Initializing meta tensors would make torch load its compiler, which takes a second.
    """
    with torch.device("meta"), _SkipInit():
        yield


class _SkipInit(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":  # methods written in C have no __module__
            return (*args, *(kwargs or {}).values())[0]
        return func(*args, **(kwargs or {}))
