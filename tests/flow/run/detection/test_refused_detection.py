"""A checkpoint that cannot identify languages for a job is refused before Ray starts, with what to correct."""

import json
import re
import shutil

import pytest

from pipelines.corpus import planned_shards
from pipelines.errors import FatalError
from pipelines.job.input import InputSettings
from pipelines.run.execute import run
from pipelines.run.prepare import prepare_job
from pipelines.stages import Tokenize
from pipelines.train.vocabulary import learn_vocabulary
from pipelines.training_job import VocabularySettings
from tests.flow.run.outputs import printed, quiet_console


def refusal(job) -> str:
    with pytest.raises(FatalError) as refused:
        prepare_job(job)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_checkpoint_without_a_usable_head_is_refused(detect_job, make_job, demo, checkpoints, renamed):
    lm, heads = checkpoints / "lm", checkpoints / "heads"
    assert refusal(detect_job(lm)) == (
        f"input.lang: {lm}/model.safetensors: contains a language-modeling head, but no sequence-classification head; "
        "set head to a directory with one"
    )
    cases = {
        "topic": "3 of the 3 labels of {} are not language codes (a, b, c); name a head that identifies languages",
        "several": "{}: the head was trained for multi-label, expected single-label",
        "values": "{}: the head was trained for regression, expected single-label",
    }
    for name, message in cases.items():
        job = make_job(input__lang={"detect": str(lm), "head": str(heads / name)})
        assert refusal(job) == f"input.lang: {message.format(heads / name)}"
    partly = renamed({"de": "LABEL_0", "en": "sports"})
    assert "2 of the 18 labels" in refusal(detect_job(partly))
    assert refusal(detect_job(demo / "none")) == f"input.lang: {demo / 'none'}: no such checkpoint directory"


def test_head_of_another_trunk_is_refused(make_job, identifier, renamed):
    other = renamed({})
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-4:] = b"\0\0\0\0"
    (other / "model.safetensors").write_bytes(weights)
    message = refusal(make_job(input__lang={"detect": str(identifier), "head": str(other)}))
    assert message.startswith(f"input.lang: {other}: this head was trained with another trunk than {identifier}; ")
    assert "set input.lang.detect to the directory of the head" in message


def test_languages_that_the_job_cannot_use_are_refused(detect_job, renamed, identifier, demo):
    needs_kytea = detect_job(tokenizer={"ja": "kytea"})
    assert refusal(needs_kytea).startswith(f"input.lang: {identifier} may find ja in any row: Japanese text needs")
    langs = json.loads((demo / "checkpoint" / "config.json").read_text(encoding="utf-8"))["lang2id"]
    codes = "tlh yo ig ha so xh zu sn ny st tn ts ss nr ve om ti rn"
    unknown = renamed(dict(zip(langs, codes.split(), strict=True)))
    assert refusal(detect_job(unknown)).startswith(f"input.lang: none of the 18 languages that {unknown} identifies is")
    neutral = {"unknown_lang": "neutral"}
    assert "run without a language" in prepare_job(detect_job(unknown, policy=neutral)).notes[0]


def test_output_is_resumed_with_the_same_checkpoint_only(detect_job, identifier, renamed, tmp_path, in_process):
    run(detect_job(), quiet_console())
    moved, console = tmp_path / "moved", quiet_console()
    shutil.copytree(identifier, moved)
    run(detect_job(moved), console)
    assert "nothing to do" in printed(console)
    other = renamed({"de": "nds"})
    for job, names in (
        (detect_job(other), r"identifier\.checkpoint: \S+ in the output, \S+ in this job"),
        (detect_job(threshold=0.75), r"input\.lang\.detect\.threshold: 0\.5 in the output, 0\.75 in this job"),
        (detect_job(input__lang="lang"), r"input\.lang: .* in the output, \"lang\" in this job"),
    ):
        with pytest.raises(FatalError, match=names) as refused:
            run(job, quiet_console())
        assert re.search("set output.path to a new directory", str(refused.value))


def test_short_form_stands_for_the_checkpoint_in_the_package():
    settings = InputSettings.model_validate({"path": "p", "text": "t", "lang": "detect"})
    expected = {"detect": "builtin://small", "head": "builtin://small/heads/language", "threshold": 0.5}
    assert settings.model_dump()["lang"] == expected


def test_languages_are_not_detected_where_no_stage_does_it(detect_job, demo):
    """As in a training or a vocabulary, which read the same input settings."""
    prepared = prepare_job(detect_job())
    shard = next(prepared.stages.read.read(planned_shards(prepared.plan.shards)))
    with pytest.raises(FatalError, match=r"^input\.lang: languages are only detected by xlm run; name a column"):
        Tokenize(prepared.stages.tokenize, {}).step(shard)
    vocabulary = VocabularySettings(input=detect_job().input)
    with pytest.raises(FatalError, match=r"^input\.lang: a vocabulary needs known languages"):
        learn_vocabulary(vocabulary)
