"""A DAG for Airflow 3 that runs a job on a Ray cluster every night. Copy it to the folder of DAGs.

Airflow's workers need `xlm` on their PATH, from an environment of its own with `xlm-batch[cluster]`, and the address of
the head in RAY_API_SERVER_ADDRESS, with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.
"""

import subprocess
from datetime import timedelta

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

JOB = "/etc/xlm/nightly.yaml"

# A retry does not help: the job is invalid (2), too many rows were rejected or shards failed (3), or another run is
# writing to the output (5).
NO_RETRY = (2, 3, 5)


@dag(
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berlin"),
    catchup=False,  # one run annotates all that is new
    max_active_runs=1,
    tags=["xlm"],
)
def xlm_nightly():
    """Annotate the files that were added to the corpus."""

    @task(retries=3, retry_delay=timedelta(minutes=10), execution_timeout=timedelta(hours=20))
    def annotate() -> None:
        # A retry follows the job if it is still running, and else resumes it.
        status = subprocess.run(["xlm", "submit", JOB], check=False).returncode
        if status in NO_RETRY:
            raise AirflowFailException(f"xlm submit {JOB}: exit status {status}")
        if status:
            raise RuntimeError(f"xlm submit {JOB}: exit status {status}")

    annotate()


xlm_nightly()
