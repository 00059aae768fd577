"""The checkpoints in this package: `builtin://small`, and its heads as `builtin://small/heads/upos`."""

from importlib.resources import files
from pathlib import Path

from xlm_core.checkpoint import CONFIG_FILE
from xlm_core.errors import FatalError

SCHEME = "builtin://"


def is_builtin(url: str) -> bool:
    """Return whether a URL names a checkpoint in this package."""
    return url.startswith(SCHEME)


def builtin_directory(url: str) -> Path:
    """Return the directory of a checkpoint in this package.

    Raises:
        FatalError: there is no such checkpoint.
    """
    root = Path(str(files(__name__)))
    known = {file.parent.relative_to(root).as_posix(): file.parent for file in sorted(root.rglob(CONFIG_FILE))}
    name = url.removeprefix(SCHEME).rstrip("/")
    if name not in known:
        listed = ", ".join(f"{SCHEME}{name}" for name in known) or "none, as they were not installed"
        raise FatalError(f"{url}: no such checkpoint; the package contains {listed}")
    return known[name]


def checkpoint_directory(path: str | Path) -> Path:
    """Return the directory that a path, or the URL of a checkpoint in this package, names."""
    return builtin_directory(path) if isinstance(path, str) and is_builtin(path) else Path(path)
