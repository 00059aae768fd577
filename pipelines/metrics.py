"""Every metric of a run, and how it is recorded. Ray exports them to Prometheus, and adds the prefix `ray_`.

Each node serves the metrics of its processes on one port if `ray[default]` is installed. Otherwise they are discarded;
recording one takes 3 µs. Ray also adds the suffix `_total` to counters, and the tags `NodeAddress` and `WorkerId`. It
exports a gauge for 20 s after it was set.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

from ray.util import metrics as ray_metrics


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: without what Ray adds.
        kind: a counter is only increased, a gauge is set, and a histogram counts values by their size.
        unit: of its values, in the plural.
        tags: their names. The number of their values is bounded: names of job files, stages, reasons of rejections.
        description: what is counted or measured.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    tags: tuple[str, ...]
    description: str

    @property
    def exported_name(self) -> str:
        """The name in Prometheus. That of a histogram has a suffix in addition, such as `_bucket`."""
        return f"ray_{self.name}{'_total' if self.kind == 'counter' else ''}"

    def record(self, value: float, **tags: str) -> None:
        """Increase the counter by a value, set the gauge to it, or add it to the histogram."""
        match self.kind:
            case "counter":
                if value > 0:  # Ray refuses 0
                    _open(self).inc(value, tags)
            case "gauge":
                _open(self).set(value, tags)
            case "histogram":
                _open(self).observe(value, tags)


# Recorded by the driver when a shard is committed, so a shard that was retried counts once.
ROWS_READ = Metric(
    "xlm_rows_read", "counter", "rows", ("xlm_job",), "Rows read of committed shards, before the filter."
)
ROWS_WRITTEN = Metric("xlm_rows_written", "counter", "rows", ("xlm_job",), "Rows in the parts of committed shards.")
ROWS_REJECTED = Metric(
    "xlm_rows_rejected", "counter", "rows", ("xlm_job", "reason"), "Rejected rows of committed shards, by reason."
)
TOKENS = Metric("xlm_tokens", "counter", "tokens", ("xlm_job",), "Tokens of committed shards, fed to the model.")
SHARDS = Metric("xlm_shards", "counter", "shards", ("xlm_job", "result"), "Shards, by result: committed or failed.")
STAGE_SECONDS = Metric(
    "xlm_stage_seconds", "counter", "seconds", ("xlm_job", "stage"), "Time of workers on committed shards, by stage."
)
SHARD_SECONDS = Metric(
    "xlm_shard_seconds", "histogram", "seconds", ("xlm_job", "stage"), "Time that a stage took for a committed shard."
)
OOM_HALVINGS = Metric(
    "xlm_oom_halvings",
    "counter",
    "halvings",
    ("xlm_job",),
    "How often the token budget was halved because memory ran out.",
)

# Recorded by the driver every few seconds while it computes.
ROWS_LEFT = Metric("xlm_rows_left", "gauge", "rows", ("xlm_job",), "Rows of the run whose shards are not finished yet.")
SHARDS_LEFT = Metric("xlm_shards_left", "gauge", "shards", ("xlm_job",), "Shards of the run that are not finished yet.")

# Recorded by model processes after each shard, also for shards that are computed again.
PASS_TOKENS = Metric("xlm_pass_tokens", "counter", "tokens", ("xlm_job",), "Tokens in forward passes of the trunk.")
PADDED_TOKENS = Metric(
    "xlm_padded_tokens",
    "counter",
    "tokens",
    ("xlm_job",),
    "Tokens that these passes would have if sequences were padded to the longest one of their pass. They are packed "
    "instead, so this is only for comparison.",
)
DEVICE_MEMORY = Metric(
    "xlm_device_memory_bytes",
    "gauge",
    "bytes",
    ("xlm_job", "device"),
    "Memory of a model process: reserved by torch on a GPU, or its largest resident set if the device is a CPU.",
)

METRICS = (
    ROWS_READ,
    ROWS_WRITTEN,
    ROWS_REJECTED,
    TOKENS,
    SHARDS,
    STAGE_SECONDS,
    SHARD_SECONDS,
    OOM_HALVINGS,
    ROWS_LEFT,
    SHARDS_LEFT,
    PASS_TOKENS,
    PADDED_TOKENS,
    DEVICE_MEMORY,
)

_BOUNDARIES_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0]


@cache
def _open(metric: Metric) -> Any:
    """Create Ray's object for a metric, once in each process."""
    match metric.kind:
        case "counter":
            return ray_metrics.Counter(metric.name, metric.description, metric.tags)
        case "gauge":
            return ray_metrics.Gauge(metric.name, metric.description, metric.tags)
        case "histogram":
            return ray_metrics.Histogram(metric.name, metric.description, _BOUNDARIES_S, metric.tags)
