# ruff: noqa: E501 - settings stand as a person would write them
"""Jobs as YAML, the names of all settings, and what loading a file comes to."""

from jobs.spec import SpecError, load_job
from pipelines.job import Job

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
model: {checkpoint: hf://FacebookAI/xlm-mlm-100-1280, precision: bfloat16}
tasks:
  - feature-extraction: {pooling: max, normalize: false, dtype: float16}
  - text-classification: {head: s3://heads/topic, top_k: 3, scores: true, name: topic}
  - text-classification: {head: s3://heads/tone, name: tone}
  - token-classification:
tokenizer: {max_length: 256, on_overflow: reject, zh: rjieba, ja: fugashi, kytea_model: m.bin, compat: reference, max_chars: 9}
batch: {max_tokens: 4096, invariant: true}
output: {path: s3://out/news, rows_per_shard: 100}
policy: {unknown_lang: neutral, empty_text: reject, duplicate_ids: ignore, max_rejected: 1, max_failed_shards: 2}
compute: {address: auto, tokenizers: 4, models: 2, gpus_per_model: 0.5, object_store_mb: 2000}
"""

SETTINGS = [
    f"{section}.{name}"
    for section, group in Job.model_json_schema()["$defs"].items()
    for section in [section.removesuffix("Spec").lower()]
    if section in Job.model_fields
    for name in group["properties"]
]


def attempt(path, overrides=()):
    try:
        load_job(path, overrides)
    except SpecError as error:
        return error
    return None
