import copy
import json

import pytest

from tests.jobs.job_files import FULL, MINIMAL, SETTINGS

CHANGES = {
    "input.path=other": False,
    "input.id=doc": True,
    "input.text=other": True,
    "input.lang={fixed: de}": True,
    "input.filter=year > 1": True,
    "input.keep=[url]": True,
    "model.checkpoint=moved": False,
    "model.precision=float16": True,
    "tasks.0.feature-extraction.pooling=max": True,
    "tasks.0.feature-extraction.normalize=false": True,
    "tasks.0.feature-extraction.dtype=float16": True,
    "tasks.0.feature-extraction.name=x": True,
    "tasks.1.text-classification.head=moved": False,
    "tasks.1.text-classification.top_k=2": True,
    "tasks.1.text-classification.scores=true": True,
    "tasks=[feature-extraction]": True,
    "tokenizer.max_length=100": True,
    "tokenizer.on_overflow=reject": True,
    "tokenizer.zh=rjieba": True,
    "tokenizer.ja=fugashi": True,
    "tokenizer.kytea_model=moved": False,
    "tokenizer.compat=reference": True,
    "tokenizer.max_chars=5": True,
    "batch.max_tokens=5": False,
    "batch.invariant=true": True,
    "output.path=other": False,
    "output.rows_per_shard=5": True,
    "policy.unknown_lang=neutral": True,
    "policy.duplicate_ids=ignore": True,
    "policy.max_rejected=5": False,
    "policy.max_failed_shards=5": False,
    "compute.address=auto": False,
    "compute.tokenizers=5": False,
    "compute.models=5": False,
    "compute.gpus_per_model=0": False,
    "compute.object_store_mb=500": False,
    "name=other": False,
}


@pytest.mark.parametrize("override", CHANGES)
def test_the_fingerprint_changes_with_the_settings_that_change_results_and_no_others(load, override):
    base = load(MINIMAL, "tasks=[feature-extraction, text-classification]")
    changed = load(MINIMAL, "tasks=[feature-extraction, text-classification]", override)
    assert changed != base
    assert (changed.fingerprint_fields() != base.fingerprint_fields()) == CHANGES[override]


def test_every_setting_is_known_to_be_in_the_fingerprint_or_not():
    settled = {override.split("=")[0] for override in CHANGES}
    assert set(SETTINGS) - settled == {"policy.empty_text"}  # it has one value only


def test_the_fingerprint_is_plain_json_and_independent_of_the_job_it_came_from(load):
    fields = load(FULL).fingerprint_fields()
    assert json.loads(json.dumps(fields)) == fields
    before = copy.deepcopy(fields)
    load(FULL).fingerprint_fields()["input"]["keep"].append("x")
    assert load(FULL).fingerprint_fields() == before
