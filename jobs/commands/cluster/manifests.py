"""`xlm submit --kuberay`: the options, and printing the manifests."""

from __future__ import annotations

import importlib.metadata
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from jobs.commands.command import Command
from jobs.console import print_error
from jobs.exit_status import ExitStatus
from pipelines.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.submission import ShippedJob

PROVIDERS = ("gke", "eks", "aks", "karpenter")


class _ManifestOption(click.Option):
    """An option that `--help` lists in a section of its own."""


class SubmitCommand(Command):
    """The command with two groups of options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of manifests after the others."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for title, is_manifest in (("Options", False), ("Options of manifests", True)):
            records = [
                option.get_help_record(ctx) for option in options if isinstance(option, _ManifestOption) == is_manifest
            ]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])


_option = partial(click.option, cls=_ManifestOption)
_OPTIONS = [
    _option("--kuberay", is_flag=True, help="Print a RayJob for `kubectl apply` instead. Needs no cluster."),
    _option("--schedule", metavar="CRON", help="A RayCronJob with this schedule, such as '0 2 * * *'."),
    _option("--time-zone", metavar="ZONE", help="The time zone of --schedule. Default: Etc/UTC."),
    _option(
        "--plain-cron-job",
        is_flag=True,
        help="A CronJob that creates RayJobs, for operators without RayCronJob. Its runs never overlap.",
    ),
    _option(
        "--image",
        metavar="IMAGE",
        help="The image of all pods. Default: xlm-batch:VERSION-cpu, and xlm-batch:VERSION-cuda for GPU workers.",
    ),
    _option("--gpu-image", metavar="IMAGE", help="The image of GPU workers, if it is another one."),
    _option("--namespace", metavar="NAME", help="The namespace. Default: default."),
    _option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="NAME",
        help="A Secret whose values become environment variables. May be given several times.",
    ),
    _option("--service-account", metavar="NAME", help="The ServiceAccount of the cluster's pods."),
    _option("--cpu-workers", metavar="[MIN:]MAX", help="Pods that tokenize. Default: from compute, or 4 at most."),
    _option(
        "--gpu-workers",
        metavar="[MIN:]MAX",
        help="Pods that run the model. Default: from compute, or 4 at most. With 0, the model runs on CPUs.",
    ),
    _option("--worker-cpus", type=click.IntRange(1, 1024), metavar="N", help="CPUs of a worker. Default: 8."),
    _option("--worker-memory-gib", type=click.IntRange(1, 65536), metavar="N", help="Memory of a worker. Default: 32."),
    _option(
        "--spot", type=click.Choice(PROVIDERS), help="Run workers on spot nodes of this provider, the head on others."
    ),
    _option(
        "--deadline-hours",
        type=click.FloatRange(0.01, 10_000),
        metavar="HOURS",
        help="End a run after this time. Default: 24, or less if the schedule has shorter intervals.",
    ),
    _option("--retries", type=click.IntRange(0, 100), metavar="N", help="New clusters after a failed one. Default: 3."),
]


def manifest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of manifests to a command, which receives them as keyword arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_manifest_options(given: dict[str, Any]) -> None:
    """Check that options of manifests come with those that they need.

    Raises:
        UsageError: one has no effect.
    """
    names = {name: f"--{'secret' if name == 'secrets' else name.replace('_', '-')}" for name in given}
    used = [names[name] for name, value in given.items() if value is not None and value is not False and value != ()]
    if used and not given["kuberay"]:
        raise click.UsageError(f"{used[0]} is for manifests; add --kuberay")
    if given["schedule"] is None and (given["time_zone"] is not None or given["plain_cron_job"]):
        option = "--plain-cron-job" if given["plain_cron_job"] else "--time-zone"
        raise click.UsageError(f"{option} is for scheduled jobs; add --schedule")


def print_manifests(
    shipped: ShippedJob,
    *,
    schedule: str | None,
    time_zone: str | None,
    plain_cron_job: bool,
    deadline_hours: float | None,
    image: str | None,
    gpu_image: str | None,
    cpu_workers: str | None,
    gpu_workers: str | None,
    **given: Any,
) -> ExitStatus:
    """Print the manifests of a job to stdout.

    Args:
        shipped: the job.
        schedule, time_zone, plain_cron_job, deadline_hours, image, gpu_image, cpu_workers, gpu_workers: the options.
        given: options that are fields of `KubeRayOptions`; None for their defaults.

    Raises:
        FatalError: an option is not valid, or does not go with the job.
    """
    from jobs.submission import kuberay
    from pipelines.job import Job

    job = shipped.job
    if not isinstance(job, Job):
        raise FatalError("--kuberay: the job is one of xlm train; start a cluster, and submit the job with --address")

    def parse(option: str, text: str | None) -> kuberay.Replicas | None:
        try:
            return None if text is None else kuberay.Replicas.parse(text)
        except ValueError as error:
            raise FatalError(f"{option}: {error}") from None

    if deadline_hours is not None and math.isnan(deadline_hours):  # which `click.FloatRange` accepts
        raise FatalError("--deadline-hours: got nan, expected a number of hours")
    when = None if schedule is None else kuberay.Schedule(schedule, "Etc/UTC" if time_zone is None else time_zone)
    # RayCronJob has no concurrencyPolicy, so a run should end before the next is due.
    longest_s = kuberay.DAY_S if when is None or plain_cron_job else min(kuberay.DAY_S, when.shortest_gap_s)
    tag = f"xlm-batch:{importlib.metadata.version('xlm-batch')}"
    options = kuberay.KubeRayOptions(
        image=f"{tag}-cpu" if image is None else image,
        gpu_image=f"{tag}-cuda" if image is None and gpu_image is None else gpu_image,
        cpu_workers=parse("--cpu-workers", cpu_workers),
        gpu_workers=parse("--gpu-workers", gpu_workers),
        deadline_s=longest_s if deadline_hours is None else round(deadline_hours * 3600),
        **{name: value for name, value in given.items() if value is not None and name != "kuberay"},
    )
    if when is None:
        manifests = kuberay.ray_job(job, options)
    elif plain_cron_job:
        manifests = kuberay.cron_job(job, options, when)
    else:
        manifests = kuberay.ray_cron_job(job, options, when)
    click.echo(kuberay.dump_manifests(manifests), nl=False)
    if shipped.local_paths:
        paths = ", ".join(dict.fromkeys(shipped.local_paths))
        print_error(f"these files are not on the cluster, unless its pods mount a volume with them: {paths}")
    return ExitStatus.COMPLETE
