"""The job of most tests: the demo's corpus, a small model with random weights, and three tasks."""

import json
from pathlib import Path

from jobs.demo import write_demo

NAME = "small.yaml"

_JOB = """\
name: demo
input:
  path: "{folder}/corpus/"
  id: id
  text: text
  lang: lang
  keep: [lang, topic, year]
  filter: "year >= 2020"
model: {{checkpoint: "{folder}/checkpoint"}}
tasks:
  - feature-extraction: {{pooling: mean, normalize: true}}
  - text-classification: {{head: "{folder}/heads/topic"}}
  - token-classification: {{head: "{folder}/heads/upos"}}
tokenizer: {{max_length: 128, ja: fugashi}}
output: {{path: "{folder}/out", rows_per_shard: 64}}
policy: {{max_rejected: 0.05}}
"""


def write_small_job(folder: Path) -> Path:
    """Write the demo and the job to a folder, and return the path of the job file."""
    folder = write_demo(folder).parent
    (folder / NAME).write_text(_JOB.format(folder=json.dumps(str(folder))[1:-1]), encoding="utf-8")
    return folder / NAME
