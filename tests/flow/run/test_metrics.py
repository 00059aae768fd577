"""The metrics of a live run, as Prometheus scrapes them, and the dashboard and alerts that use them."""

import json
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from jobs.job_file import load_job
from pipelines.metrics import (
    DEVICE_MEMORY,
    METRICS,
    OOM_HALVINGS,
    PADDED_TOKENS,
    PASS_TOKENS,
    ROWS_LEFT,
    ROWS_READ,
    ROWS_REJECTED,
    ROWS_WRITTEN,
    SHARD_SECONDS,
    SHARDS,
    SHARDS_LEFT,
    STAGE_SECONDS,
    TOKENS,
    Metric,
)
from pipelines.run import run
from tests.flow.run.outputs import quiet_console

JOB = "watched"
POOLS = ["compute.tokenizers=1", "compute.models=1"]
MONITORING = Path(__file__).parents[3] / "infra" / "monitoring"

# Ray adds these to the tags of a metric.
RAY_TAGS = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId", "le"}


class Scraped(NamedTuple):
    """What was scraped during a run and until its counters stopped changing.

    Attributes:
        report: the run's report.
        types: the type and description of each metric, by name.
        labels: the names of the labels of each series, by the series' name.
        scrapes: the values of the series of the run in each scrape, by name and label values.
        last: the last value of each of these series.
    """

    report: dict[str, Any]
    types: dict[str, tuple[str, str]]
    labels: dict[str, set[str]]
    scrapes: list[dict[tuple[str, ...], float]]
    last: dict[tuple[str, ...], float]

    def scrape(self, port: int) -> None:
        """Read the current values of all metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
            text = response.read().decode()
        found: dict[tuple[str, ...], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.types[sample.name] = (family.type, family.documentation)
                labels = {name: value for name, value in sample.labels.items() if not name.startswith("otel_")}
                self.labels.setdefault(sample.name, set()).update(labels)
                if labels.get("xlm_job") == JOB:
                    values = [value for name, value in labels.items() if name not in RAY_TAGS | {"xlm_job"}]
                    found[(sample.name, *values)] = sample.value
        self.scrapes.append(found)
        self.last.update(found)

    def of(self, metric: Metric, *labels: str, suffix: str = "") -> float:
        """Return the last value of a series of the run; 0 if there is none."""
        return self.last.get((metric.exported_name + suffix, *labels), 0.0)


@pytest.fixture(scope="module")
def scraped(demo: Path, tmp_path_factory: pytest.TempPathFactory, cluster: None, metrics_port: int) -> Scraped:
    """Run a job with rejected rows and a failed shard, and scrape it every second."""
    folder = tmp_path_factory.mktemp("metrics")
    corpus, out = folder / "corpus", folder / "out"
    shutil.copytree(demo / "corpus", corpus)
    first = min(corpus.rglob("*.parquet"))
    damaged = bytearray(first.read_bytes())
    damaged[4:400] = b"\xff" * 396
    (first.parent / "damaged.parquet").write_bytes(damaged)
    settings = [f"name={JOB}", f"input.path={corpus}", f"output.path={out}", "policy.max_failed_shards=9"]
    job = load_job(demo / "small.yaml", [*settings, "policy.duplicate_ids=ignore", "policy.max_rejected=1.0", *POOLS])
    scraped, ended = Scraped({}, {}, {}, [], {}), threading.Event()

    def scrape_regularly() -> None:
        while not ended.wait(1.0):
            scraped.scrape(metrics_port)

    thread = threading.Thread(target=scrape_regularly)
    thread.start()
    try:
        scraped.report.update(run(job, quiet_console()))
    finally:
        ended.set()
        thread.join()
    deadline = time.monotonic() + 60
    num_failed = scraped.report["totals"]["failed_shards"]
    while (
        scraped.of(TOKENS) < scraped.report["totals"]["tokens"]
        or scraped.of(SHARDS, "failed") < num_failed
        or scraped.of(SHARDS_LEFT) > 0
    ):
        assert time.monotonic() < deadline, scraped.last
        time.sleep(0.5)
        scraped.scrape(metrics_port)
    return scraped


def test_counters_are_those_of_the_report(scraped):
    report, totals = scraped.report, scraped.report["totals"]
    assert report["status"] == "complete except for failed shards"
    assert scraped.of(SHARDS, "committed") == totals["shards"]
    assert scraped.of(SHARDS, "failed") == totals["failed_shards"] > 0
    assert scraped.of(TOKENS) == totals["tokens"] > 0
    assert scraped.of(ROWS_READ) == totals["rows_read"]
    assert scraped.of(ROWS_WRITTEN) == totals["rows_out"]
    assert len(report["reasons"]) == 5
    assert {reason: scraped.of(ROWS_REJECTED, reason) for reason in report["reasons"]} == report["reasons"]
    for stage, seconds in report["stage_seconds"].items():
        assert scraped.of(STAGE_SECONDS, stage) == pytest.approx(seconds, abs=0.01)
        assert scraped.of(SHARD_SECONDS, stage, suffix="_count") == totals["shards"]


def test_gauges_begin_with_the_whole_plan_and_end_with_nothing_left(scraped):
    totals = scraped.report["totals"]
    num_shards = totals["shards"] + totals["failed_shards"]
    first = next(values for values in scraped.scrapes if (SHARDS_LEFT.exported_name,) in values)
    # Shards may be finished before Ray exports its metrics for the first time.
    finished = sum(first.get((SHARDS.exported_name, result), 0) for result in ("committed", "failed"))
    assert num_shards - finished <= first[SHARDS_LEFT.exported_name,] <= num_shards
    assert 0 < first[ROWS_LEFT.exported_name,] <= totals["rows_corpus"]
    assert finished or first[ROWS_LEFT.exported_name,] == totals["rows_corpus"]
    assert scraped.last[SHARDS_LEFT.exported_name,] == scraped.last[ROWS_LEFT.exported_name,] == 0


def test_passes_and_memory_of_model_processes(scraped):
    # Identical rows are computed once. A model process that ends loses what it counted after its last export to Ray.
    tokens = scraped.of(PASS_TOKENS)
    assert 0 < tokens <= scraped.report["totals"]["tokens"]
    assert tokens < scraped.of(PADDED_TOKENS) < 10 * tokens
    assert 100e6 < scraped.of(DEVICE_MEMORY, "cpu") < 10e9


def test_metrics_are_exported_as_they_are_defined(scraped):
    """The token budget is not halved here, and a counter appears with its first increase."""
    suffixes = {"counter": "", "gauge": "", "histogram": "_bucket"}
    for metric in METRICS:
        if metric != OOM_HALVINGS:
            name = metric.exported_name + suffixes[metric.kind]
            assert scraped.types[name] == (metric.kind, metric.description)
            assert scraped.labels[name] - RAY_TAGS == set(metric.tags)
    exported = {name for name in scraped.types if name.startswith("ray_xlm_")}
    known = {metric.exported_name for metric in METRICS}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in exported} <= known


def find_queries() -> Iterator[str]:
    """Yield all queries of the dashboard and of the alerts."""
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_bytes())
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["query"]["query"] == variable["definition"]
            yield variable["definition"]
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.mark.parametrize("query", sorted(set(find_queries())))
def test_every_query_names_metrics_and_labels_that_exist(scraped, query):
    selectors = re.findall(r"\b(ray_\w+)(?:\{([^}]*)\})?", query)
    assert selectors
    labels = set().union(*(scraped.labels.get(name, set()) for name, _ in selectors))
    labels |= set(OOM_HALVINGS.tags) | {"instance"}
    for name, matchers in selectors:
        if name.startswith("ray_node_g"):  # Ray has these metrics on nodes with a GPU
            assert name.removeprefix("ray_") in METRICS_GAUGES
        else:
            assert name in scraped.labels or name == OOM_HALVINGS.exported_name
            used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert used <= scraped.labels.get(name, set(OOM_HALVINGS.tags))
    for grouping in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
        assert {label.strip() for label in grouping.split(",")} <= labels


def test_scrape_config_and_monitor_are_of_ray():
    """Ray writes the file of addresses; KubeRay names the port and the label of its pods."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    (discovery,) = scrape["file_sd_configs"]
    assert discovery["files"] == [f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
    assert all((MONITORING / file).is_file() for file in config["rule_files"])
    monitor = yaml.safe_load((MONITORING / "pod-monitor.yaml").read_text())["spec"]
    assert monitor["selector"]["matchExpressions"] == [{"key": "ray.io/cluster", "operator": "Exists"}]
    assert [endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]] == ["metrics"]


def test_readme_describes_every_metric():
    rows = [line.strip("| ").split(" | ") for line in (MONITORING / "README.md").read_text().splitlines()]
    assert [row for row in rows if row[0].startswith("`ray_xlm_")] == [
        [
            f"`{metric.exported_name}`",
            metric.kind,
            metric.unit,
            ", ".join(f"`{tag}`" for tag in metric.tags),
            metric.description,
        ]
        for metric in METRICS
    ]
