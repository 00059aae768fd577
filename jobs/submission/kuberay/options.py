"""What a job's cluster on Kubernetes looks like, beyond the job file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from jobs.submission.kuberay.schedule import DAY_S
from pipelines.errors import FatalError
from pipelines.formatting import excerpt

# The label with which a provider marks spot nodes. GKE and AKS also taint such nodes with it.
SPOT_LABELS = {
    "gke": ("cloud.google.com/gke-spot", "true"),
    "eks": ("eks.amazonaws.com/capacityType", "SPOT"),
    "aks": ("kubernetes.azure.com/scalesetpriority", "spot"),
    "karpenter": ("karpenter.sh/capacity-type", "spot"),
}

_LABEL = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_LABELS = f"(?=.{{1,253}}$){_LABEL}(?:\\.{_LABEL})*"


class Replicas(NamedTuple):
    """How many pods a group of workers has at least and at most."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str) -> Replicas:
        """Parse `MAX` or `MIN:MAX`.

        Raises:
            ValueError: it is neither.
        """
        match = re.fullmatch(r"(?:(\d{1,5}):)?(\d{1,5})", text, re.ASCII)
        replicas = cls(int(match[1] or 0), int(match[2])) if match else cls(1, 0)
        if replicas.low > replicas.high:
            raise ValueError(f"got {text!r}, expected MAX or MIN:MAX, such as 0:8")
        return replicas


@dataclass(frozen=True)
class KubeRayOptions:
    """The options of `xlm submit --kuberay`.

    Attributes:
        image: the container image of the pods.
        gpu_image: that of GPU workers; None for the same. It must have the same versions of Python and Ray.
        namespace: where all objects are.
        secrets: names of Secrets whose values are environment variables of all pods of the cluster.
        service_account: the ServiceAccount of these pods, for example one with access to object stores.
        cpu_workers, gpu_workers: the number of pods; None to derive the maximum from the job's `compute`.
        worker_cpus, worker_memory_gib: what each pod with a worker gets.
        spot: whose spot nodes workers run on, a key of `SPOT_LABELS`; None for any node.
        deadline_s: when the operator ends a run.
        retries: how often the operator starts a new cluster after a failure.
    """

    image: str
    gpu_image: str | None = None
    namespace: str = "default"
    secrets: tuple[str, ...] = ()
    service_account: str | None = None
    cpu_workers: Replicas | None = None
    gpu_workers: Replicas | None = None
    worker_cpus: int = 8
    worker_memory_gib: int = 32
    spot: str | None = None
    deadline_s: int = DAY_S
    retries: int = 3

    def __post_init__(self) -> None:
        """Check the names of other objects.

        Raises:
            FatalError: Kubernetes would refuse one.
        """
        if not re.fullmatch(_LABEL, self.namespace):
            raise FatalError(
                f"--namespace {excerpt(self.namespace)!r}: expected at most 63 lower-case letters, digits and dashes, "
                "with a letter or digit at both ends"
            )
        names = [("--secret", name) for name in self.secrets]
        if self.service_account is not None:
            names.append(("--service-account", self.service_account))
        for option, name in names:
            if not re.fullmatch(_LABELS, name):
                raise FatalError(
                    f"{option} {excerpt(name)!r}: expected lower-case letters, digits, dashes and dots, with a letter "
                    "or digit at both ends of each part"
                )
        for option, image in (("--image", self.image), ("--gpu-image", self.gpu_image)):
            if image is not None and not re.fullmatch(r"[\w.:/@-]+", image, re.ASCII):
                raise FatalError(
                    f"{option} {excerpt(image)!r}: expected an image, such as registry.example.com/xlm-batch:1.0"
                )
