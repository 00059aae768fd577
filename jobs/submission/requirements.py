"""The packages that `xlm submit --pip` installs on the cluster."""

from __future__ import annotations

import importlib.metadata

from packaging.requirements import Requirement
from packaging.version import Version

_NOT_ON_CLUSTERS = ("test", "cluster")


def pinned_requirements() -> list[str]:
    """Return the requirements of this project, other than Ray, in the versions that are installed here.

    With the same versions, an output that was begun here can be resumed there. Optional packages are included if they
    are installed here.
    """
    pinned: dict[str, str] = {}
    for line in importlib.metadata.requires("xlm-batch") or []:
        requirement = Requirement(line)
        name, marker = requirement.name, requirement.marker
        for_cluster = marker is None or not any(marker.evaluate({"extra": extra}) for extra in _NOT_ON_CLUSTERS)
        if name != "ray" and for_cluster:
            try:
                # Without the local part, such as +cpu of a build of torch.
                pinned[name] = f"{name}=={Version(importlib.metadata.version(name)).public}"
            except importlib.metadata.PackageNotFoundError:
                continue
    return sorted(pinned.values())
