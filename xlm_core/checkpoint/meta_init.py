"""Modules without weights: what there is before a checkpoint is read, or if only names and shapes are asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable


@contextmanager
def shapes_only() -> Generator[None]:
    """Give modules that are made within neither memory nor random numbers.

    To draw numbers for tensors that hold none, torch would load its compiler first, which takes a second.
    """
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":  # which methods in C lack
            return (*args, *(kwargs or {}).values())[0]
        return func(*args, **(kwargs or {}))
