"""Names of Kubernetes objects."""

import re

from hypothesis import given
from hypothesis import strategies as st

from jobs.submission.kuberay.names import RUN_SUFFIX, kubernetes_name

MAX_RAY_JOB_NAME = 47
JOB_NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@given(JOB_NAMES)
def test_any_job_name_gives_a_valid_name(job_name):
    name = kubernetes_name(job_name)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    run = f"{name}-29876543{RUN_SUFFIX}"  # minutes since 1970, which have 8 digits until 2160
    assert len(run) <= MAX_RAY_JOB_NAME
    assert kubernetes_name(name) == name or len(name) > len(job_name)


@given(st.lists(JOB_NAMES, unique_by=str.lower, min_size=2))
def test_different_jobs_have_different_names(job_names):
    assert len(set(map(kubernetes_name, job_names))) == len(job_names)


def test_readable_names_stay():
    assert kubernetes_name("news-annotations") == "news-annotations"
    assert kubernetes_name("News") == "news"
    assert re.fullmatch("xlm-2026-news-[0-9a-f]{6}", kubernetes_name("2026.news"))
    assert re.fullmatch("xlm-[0-9a-f]{6}", kubernetes_name("0_")[:4] + kubernetes_name("0_")[-6:])
