"""Names of Kubernetes objects, from the name of a job."""

import hashlib
import re

# The operator allows names of RayJobs of up to 47 characters, and RUN_SUFFIX and 9 characters of a CronJob's run are
# added to that of a scheduled one.
_MAX_LENGTH = 34
RUN_SUFFIX = "-ray"
_DIGEST_LENGTH = 6


def kubernetes_name(job_name: str) -> str:
    """Turn a job's name into a DNS label that begins with a letter, as the operator requires.

    Names that had to be changed, other than to lower case, end with a digest, so that two jobs do not share a name.
    """
    lower = job_name.lower()
    name = re.sub("[^a-z0-9]+", "-", lower).strip("-")
    if not name[:1].isalpha():
        name = f"xlm-{name}".strip("-")
    if name == lower and len(name) <= _MAX_LENGTH:
        return name
    digest = hashlib.sha256(job_name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: _MAX_LENGTH - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}"
