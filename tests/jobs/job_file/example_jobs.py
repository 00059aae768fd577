# ruff: noqa: E501 - settings are on one line, as people write them
"""Job files that together set every setting, and the names of all settings."""

from jobs.job_file.load import JobFileError, load_job
from pipelines.job.job import Job
from pipelines.tasks import TASKS

MINIMAL = """\
input:
  path: data/
  text: body
  lang: lang
model: {checkpoint: ckpt}
tasks:
  - feature-extraction
output: {path: out}
"""

FULL = """\
name: news-annotations
input:
  path: [s3://corpus/news/, "more/*.parquet"]
  id: doc_id
  text: [title, body]
  lang: {fixed: "no"}
  filter: year >= 2024 and section in ["a", "b"]
  keep: [url, date]
model: {checkpoint: hf://FacebookAI/xlm-mlm-100-1280, precision: bfloat16, objective: masked}
tasks:
  - feature-extraction: {pooling: max, normalize: false, dtype: float16}
  - text-classification: {head: s3://heads/topic, top_k: 3, scores: true, prefix: topic_}
  - text-classification: {head: s3://heads/tone, prefix: tone_, problem: multi-label, threshold: 0.2}
  - token-classification:
  - token-classification: {head: s3://heads/ner, prefix: ner_, aggregate: entity, pieces: mean, scheme: bioes}
  - feature-extraction: {prefix: small_, layer: [0, -2], truncate_dim: 256, dtype: int8, calibration: out/sample, windows: each}
  - question-answering: {head: s3://heads/qa, prefix: qa_, top_k: 3, max_answer_tokens: 12}
  - fill-mask: {head: s3://heads/lm, prefix: mask_, top_k: 2, mask: "[MASK]"}
  - lm-scoring: {head: s3://heads/lm, prefix: lm_}
tokenizer: {max_length: 256, on_overflow: window, overlap_tokens: 32, bypass_tokenizer: true, zh: rjieba, ja: fugashi, kytea_model: m.bin, compat: reference, max_chars: 9}
batch: {max_tokens: 4096, invariant: true}
output: {path: s3://out/news, rows_per_shard: 100, token_counts: true}
policy: {unknown_lang: neutral, duplicate_ids: ignore, max_rejected: 1, max_failed_shards: 2, max_removed: 1.0, shard_timeout_s: 60, stop_grace_s: 5}
storage: [{url: "s3://corpus/", endpoint: "http://127.0.0.1:9000", region: eu-west-1, anonymous: true, profile: research}]
compute: {address: auto, tokenizers: 4, models: 2, gpus_per_model: 0.5, object_store_mb: 2000, price_per_hour: 30.5}
"""

CHOICES = """\
input: {path: data/, text: [premise, choice1, choice2], lang: lang}
model: {checkpoint: ckpt}
tasks:
  - multiple-choice: {head: s3://heads/copa, prefix: copa_}
output: {path: out}
"""

GENERATION = """\
input: {path: data/, text: body, lang: lang}
model: {checkpoint: ckpt, objective: causal}
tasks:
  - text-generation: {head: lm, prefix: next_, max_new_tokens: 8, sample: true, temperature: 0.7, top_k: 9, top_p: 0.9, seed: 5}
output: {path: out}
"""

DETECTION = """\
input: {path: data/, text: body, lang: {detect: s3://models/lid, head: s3://models/lid/heads/language, threshold: 0.7}}
model: {checkpoint: ckpt}
tasks:
  - feature-extraction
output: {path: out}
"""

JOBS = [MINIMAL, FULL, CHOICES, GENERATION, DETECTION]

SETTINGS = [
    f"{section}.{name}"
    for section, group in Job.model_json_schema()["$defs"].items()
    for section in [section.removesuffix("Settings").lower()]
    if section in Job.model_fields
    for name in group["properties"]
]

TASK_SETTINGS = [(kind, name) for kind, task in TASKS.items() for name in task.model_fields]


def attempt(path, overrides=()):
    try:
        load_job(path, overrides)
    except JobFileError as error:
        return error
    return None
