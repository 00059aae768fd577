"""Small values that all processes of a cluster share, in the key-value store of Ray.

Every process reaches it in one call, and it lives as long as the cluster. It has no public interface in the pinned
versions of Ray. An actor could hold the same values, but it needs resources and dies with its node.
"""

# pyright: reportPrivateUsage=false

from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_exists,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)


def put_key(key: str, value: int = 0) -> None:
    """Set the value of a key in the cluster's key-value store."""
    _internal_kv_put(key.encode(), str(value).encode())


def read_key(key: str) -> int:
    """Read the value of a key in the cluster's key-value store; 0 if it is not there."""
    return int(_internal_kv_get(key.encode()) or 0)


def put_text(key: str, value: str) -> None:
    """Set the text of a key in the cluster's key-value store."""
    _internal_kv_put(key.encode(), value.encode())


def read_text(key: str) -> str | None:
    """Read the text of a key in the cluster's key-value store; None if it is not there."""
    value = _internal_kv_get(key.encode())
    return value.decode() if value else None


def has_key(key: str) -> bool:
    """Return whether the cluster's key-value store has a key."""
    return bool(_internal_kv_exists(key.encode()))


def list_keys(prefix: str) -> list[str]:
    """List the keys of the cluster's key-value store that start with a prefix."""
    return [key.decode() for key in _internal_kv_list(prefix.encode())]


def delete_key(key: str) -> None:
    """Delete a key from the cluster's key-value store, if it is there."""
    _internal_kv_del(key.encode())


def delete_keys(prefix: str) -> None:
    """Delete all keys that start with a prefix from the cluster's key-value store."""
    _internal_kv_del(prefix.encode(), del_by_prefix=True)
