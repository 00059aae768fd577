"""What the workers of a training exchange: sums over all of them.

Without a process group of torch.distributed, there is one worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_BUCKET_VALUES = 1 << 26  # 256 MB of float32


def num_workers() -> int:
    """Return the number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def worker_index() -> int:
    """Return the index of this worker, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def sum_over_workers(tensor: Tensor) -> Tensor:
    """Sum a tensor over all workers, in place."""
    if num_workers() > 1:
        dist.all_reduce(tensor)
    return tensor


def sum_all(tensors: Sequence[Tensor]) -> None:
    """Sum tensors of one type over all workers, in place; many small ones in one message."""
    if num_workers() == 1:
        return
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET_VALUES:
            _sum_bucket(bucket)
            bucket = []
        bucket.append(tensor)
    if bucket:
        _sum_bucket(bucket)


def _sum_bucket(tensors: Sequence[Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(values.view_as(tensor))
