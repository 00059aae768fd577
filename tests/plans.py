"""Plans of a corpus without a job's output and checkpoint."""

from collections.abc import Sequence

import pyarrow as pa

from pipelines.corpus import Plan, ShardLimits, plan_shards, survey_corpus
from pipelines.job import InputSettings
from pipelines.storage import StoreSettings


def make_plan(
    spec: InputSettings, limits: ShardLimits, stores: Sequence[StoreSettings] = (), kept: pa.Table | None = None
) -> Plan:
    """Survey a corpus, and cut it into shards."""
    return plan_shards(survey_corpus(spec, stores, kept=kept), limits, kept)
