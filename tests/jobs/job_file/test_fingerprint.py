"""Which settings the fingerprint of a job contains."""

import copy
import json
import re

import pytest

from pipelines.job.fingerprint import result_settings
from tests.jobs.job_file.example_jobs import CHOICES, DETECTION, FULL, MINIMAL, SETTINGS, TASK_SETTINGS

BASE = [
    "input.text=[question, context]",
    "tasks=[feature-extraction, text-classification, token-classification: {aggregate: entity}, question-answering, "
    "fill-mask, lm-scoring: {prefix: lm_}, text-generation: {sample: true}, "
    "feature-extraction: {prefix: small_, dtype: int8, calibration: sample}]",
]

CHANGES = {
    "input.path=other": False,
    "input.version=3": False,
    "input.id=doc": True,
    "input.text=[other, context]": True,
    "input.lang={fixed: de}": True,
    "input.lang={detect: lid}": True,
    "input.filter=year > 1": True,
    "input.keep=[url]": True,
    "model.checkpoint=moved": False,
    "model.precision=float16": True,
    "model.objective=causal": True,
    "tasks=[feature-extraction]": True,
    "tasks.0.feature-extraction.prefix=x_": True,
    "tasks.0.feature-extraction.pooling=max": True,
    "tasks.0.feature-extraction.layer=-2": True,
    "tasks.0.feature-extraction.layer=[-1, -2]": True,
    "tasks.0.feature-extraction.truncate_dim=8": True,
    "tasks.0.feature-extraction.normalize=false": True,
    "tasks.0.feature-extraction.dtype=float16": True,
    "tasks.7.feature-extraction.calibration=moved": False,
    "tasks.0.feature-extraction.windows=each": True,
    "tasks.1.text-classification.prefix=x_": True,
    "tasks.1.text-classification.head=moved": False,
    "tasks.1.text-classification.top_k=2": True,
    "tasks.1.text-classification.scores=true": True,
    "tasks.1.text-classification.problem=regression": True,
    "tasks.1.text-classification={problem: multi-label, threshold: 0.2}": True,
    "tasks.2.token-classification.prefix=x_": True,
    "tasks.2.token-classification.head=moved": False,
    "tasks.2.token-classification.aggregate=word": True,
    "tasks.2.token-classification.pieces=mean": True,
    "tasks.2.token-classification.scheme=plain": True,
    "tasks.3.question-answering.prefix=x_": True,
    "tasks.3.question-answering.head=moved": False,
    "tasks.3.question-answering.top_k=2": True,
    "tasks.3.question-answering.max_answer_tokens=2": True,
    "tasks.4.fill-mask.prefix=x_": True,
    "tasks.4.fill-mask.head=moved": False,
    "tasks.4.fill-mask.top_k=2": True,
    "tasks.4.fill-mask.mask=_": True,
    "tasks.5.lm-scoring.prefix=x_": True,
    "tasks.5.lm-scoring.head=moved": False,
    "tasks.6.text-generation.prefix=x_": True,
    "tasks.6.text-generation.head=moved": False,
    "tasks.6.text-generation.max_new_tokens=2": True,
    "tasks.6.text-generation.sample=false": True,
    "tasks.6.text-generation.temperature=0.5": True,
    "tasks.6.text-generation.top_k=2": True,
    "tasks.6.text-generation.top_p=0.5": True,
    "tasks.6.text-generation.seed=2": True,
    "tokenizer.max_length=100": True,
    "tokenizer.on_overflow=reject": True,
    "tokenizer.overlap_tokens=5": False,  # without windows
    "tokenizer.bypass_tokenizer=true": True,
    "tokenizer.zh=rjieba": False,  # segmenters are in the records of the shards
    "tokenizer.ja=fugashi": False,
    "tokenizer.kytea_model=moved": False,
    "tokenizer.compat=reference": True,
    "tokenizer.max_chars=5": True,
    "batch.max_tokens=5": False,
    "batch.invariant=true": True,
    "output.path=other": False,
    "output.rows_per_shard=5": True,
    "output.token_counts=true": True,
    "policy.unknown_lang=neutral": True,
    "policy.duplicate_ids=ignore": True,
    "policy.max_rejected=5": False,
    "policy.max_failed_shards=5": False,
    "policy.max_removed=1.0": False,
    "policy.shard_timeout_s=60": False,
    "policy.stop_grace_s=5": False,
    "compute.address=auto": False,
    "compute.tokenizers=5": False,
    "compute.models=5": False,
    "compute.gpus_per_model=0": False,
    "compute.object_store_mb=500": False,
    "compute.price_per_hour=30.5": False,
    "name=other": False,
}


@pytest.mark.parametrize("override", CHANGES)
def test_fingerprint_changes_only_with_settings_that_change_results(load, override):
    base = load(MINIMAL, *BASE)
    changed = load(MINIMAL, *BASE, override)
    assert changed != base
    assert (result_settings(changed) != result_settings(base)) == CHANGES[override]


def test_fingerprint_contains_the_overlap_only_with_windows(load):
    base = load(MINIMAL, "tokenizer.on_overflow=window")
    changed = load(MINIMAL, "tokenizer.on_overflow=window", "tokenizer.overlap_tokens=5")
    assert result_settings(changed) != result_settings(base)


def test_fingerprint_of_choices_changes_with_their_columns_but_not_with_the_path_of_the_head(load):
    base = result_settings(load(CHOICES))
    assert result_settings(load(CHOICES, "tasks.0.multiple-choice.head=moved")) == base
    for override in ("tasks.0.multiple-choice.prefix=x_", "input.text=[premise, choice2, choice1]"):
        assert result_settings(load(CHOICES, override)) != base


@pytest.mark.parametrize(("setting", "is_contained"), [("detect", False), ("head", False), ("threshold", True)])
def test_fingerprint_contains_the_threshold_but_not_where_languages_are_identified(load, setting, is_contained):
    """Content hashes of the checkpoint and of its head are added to it."""
    lang = load(DETECTION).input.lang.model_dump() | {setting: 0.2 if setting == "threshold" else "moved"}
    changed = load(DETECTION, f"input.lang={json.dumps(lang)}")
    assert (result_settings(changed) != result_settings(load(DETECTION))) == is_contained


def test_every_setting_is_tested():
    tested = {re.sub(r"^tasks\.\d\.", "", override.split("=")[0]) for override in CHANGES}
    assert set(SETTINGS) <= tested
    of_tasks = {f"{kind}.{name}" for kind, name in TASK_SETTINGS if kind != "multiple-choice"}
    assert of_tasks - tested == {"text-classification.threshold"}  # needs another problem, which is tested with it


def test_fingerprint_is_plain_json_and_shares_nothing_with_the_job(load):
    fields = result_settings(load(FULL))
    assert json.loads(json.dumps(fields)) == fields
    before = copy.deepcopy(fields)
    result_settings(load(FULL))["input"]["keep"].append("x")
    assert result_settings(load(FULL)) == before
