"""Find the checkpoint that holds the head of each task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.checkpoints import PinnedCheckpoint, local_checkpoint, pin_checkpoint, url_in_errors
from pipelines.errors import FatalError
from xlm_core import trunk_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipelines.storage import StoreSettings
    from pipelines.tasks import TaskSettings


def pin_heads(
    tasks: Sequence[TaskSettings],
    trunk_url: str,
    trunk: PinnedCheckpoint,
    trunk_folder: Path,
    stores: Sequence[StoreSettings],
    notify: Callable[[str], None],
    setting: str = "model.checkpoint",
) -> list[tuple[PinnedCheckpoint, Path]]:
    """Pin the checkpoint with each task's head. A checkpoint that several tasks name is pinned once.

    Args:
        tasks: the tasks of the job.
        trunk_url: the checkpoint of the trunk, as the job names it.
        trunk: the same checkpoint. It holds the heads of all tasks that name no other.
        trunk_folder: its directory on this node.
        stores: options of object stores.
        notify: receives progress messages.
        setting: the setting that names the checkpoint of the trunk, for messages.

    Returns:
        For each task, the checkpoint with its head, and the checkpoint's directory on this node.

    Raises:
        FatalError: a head cannot be read, or its checkpoint holds another trunk, so that its labels have no meaning.
    """
    found = {trunk_url: (trunk, trunk_folder)}
    expected_hash: str | None = None
    for task in tasks:
        url = task.head_url
        if url is None or url in found:
            continue
        try:
            pinned = pin_checkpoint(url, stores, notify)
        except FatalError as error:
            raise FatalError(f"{task.kind}: head {error}") from None
        head_folder = local_checkpoint(pinned)
        found[url] = pinned, head_folder
        with url_in_errors(url, head_folder):
            head_trunk_hash = trunk_hash(head_folder)
        if head_trunk_hash is None:  # it holds a head without a trunk
            continue
        expected_hash = expected_hash or trunk_hash(trunk_folder)
        if head_trunk_hash != expected_hash:
            raise FatalError(
                f"{url}: this head was trained with another trunk than {trunk_url}; set {setting} to the "
                "directory of the head, or name a head of this checkpoint"
            )
    return [found[task.head_url or trunk_url] for task in tasks]
