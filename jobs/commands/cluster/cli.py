"""Commands on clusters: submit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jobs.commands.cluster.manifests import (
    SubmitCommand,
    check_manifest_options,
    manifest_options,
    print_manifests,
)
from jobs.commands.options import overrides_option
from jobs.console import open_console

if TYPE_CHECKING:
    from jobs.exit_status import ExitStatus

_ADDRESS = "http://head:8265"


@click.command(
    "submit",
    cls=SubmitCommand,
    examples=[
        f"xlm submit job.yaml --address {_ADDRESS}",
        f"xlm submit job.yaml --address {_ADDRESS} --set output.path=s3://out/news --no-wait",
        f"xlm submit job.yaml --address {_ADDRESS} --stop",
        f"xlm submit --submission-id news-1a2b3c4d --address {_ADDRESS}",
        "xlm submit job.yaml --kuberay --secret object-store > news.yaml",
        "xlm submit job.yaml --kuberay --schedule '0 2 * * *' --time-zone Europe/Berlin > nightly.yaml",
    ],
)
@click.argument("job", metavar="[JOB]", type=click.Path(), required=False)
@overrides_option
@click.option(
    "--address",
    metavar="URL",
    envvar="RAY_API_SERVER_ADDRESS",
    help="The dashboard of the cluster's head. Default: RAY_API_SERVER_ADDRESS.",
)
@click.option(
    "--submission-id",
    metavar="ID",
    help="A name for this piece of work, such as news-2026-11-28: once it has succeeded, it is not run again. "
    "Default: the job's name and a hash of its output path; such a job is run again if it has ended.",
)
@click.option("--no-wait", is_flag=True, help="Do not follow the job. Without JOB, print its status.")
@click.option("--stop", is_flag=True, help="Stop the job. Submit it again to resume.")
@click.option(
    "--pip",
    is_flag=True,
    help="Install the packages that xlm-batch needs for this job, in the versions of this machine. By default, the "
    "cluster's image has them (infra/docker).",
)
@manifest_options
def submit_command(
    job: str | None,
    overrides: tuple[str, ...],
    address: str | None,
    submission_id: str | None,
    no_wait: bool,
    stop: bool,
    pip: bool,
    **manifest: Any,
) -> ExitStatus | int:
    """Run a job on a Ray cluster, and follow it.

    JOB is a job of xlm run or xlm train. Its file and the code of xlm-batch are sent to the cluster; the files that the
    job names are not. A job that is running is followed, not submitted again. Prints the log of the job, and exits
    with its status: that of xlm run or xlm train, or 130 if it was stopped. Ctrl-C ends following, not the job. Without
    JOB, --submission-id names a job that was submitted before.

    Clusters with tokens need RAY_AUTH_MODE=token and RAY_AUTH_TOKEN. RAY_JOB_HEADERS sets headers of all requests, in
    JSON.

    With --kuberay, prints the manifests of a cluster on Kubernetes that runs the job, and submits nothing.
    """
    check_manifest_options(manifest)
    if manifest["kuberay"]:
        source = click.get_current_context().get_parameter_source("address")
        has_address = source == ParameterSource.COMMANDLINE  # RAY_API_SERVER_ADDRESS may be set for other commands
        if job is None or submission_id is not None or no_wait or stop or pip or has_address:
            raise click.UsageError("--kuberay takes the job file, --set and options of manifests")
        from jobs.submission import ship_job

        return print_manifests(ship_job(job, overrides), **manifest)
    if address is None:
        raise click.UsageError(f"missing option '--address', such as {_ADDRESS}, or --kuberay")
    if submission_id == "":
        raise click.UsageError("--submission-id is empty, expected a name such as news-2026-11-28")
    if job is None and (submission_id is None or overrides or pip):
        raise click.UsageError("pass the job file, or only --submission-id to follow or stop a submitted job")
    from jobs.commands.cluster.submit import follow_job, stop_job, submit_job
    from jobs.submission import connect, ship_job

    shipped = None if job is None else ship_job(job, overrides)  # before the head is asked for anything
    client, console = connect(address), open_console()
    if stop:
        return stop_job(client, submission_id or (shipped.submission_id if shipped else ""), console, wait=not no_wait)
    if shipped is None:
        return follow_job(client, submission_id or "", console, wait=not no_wait)
    return submit_job(client, shipped, console, submission_id=submission_id, wait=not no_wait, pip=pip)
