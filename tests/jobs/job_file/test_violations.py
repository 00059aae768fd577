# ruff: noqa: E501 - a message is on one line
"""Each invalid setting is reported in one line, with its position in the file and what to write."""

import pytest

from tests.jobs.job_file.example_jobs import MINIMAL

INT8 = "calibration is required for int8, and not allowed otherwise; run a sample of the corpus with float32 first, and set calibration to its output.path"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  text: body", "  txet: body", ["job.yaml:3: input.txet is not a setting; did you mean text?"]),
        ("output:", "Output:", ["job.yaml:8: Output is not a setting; did you mean output?"]),
        ("  lang: lang\n", "", ["job.yaml:1: input.lang is missing: column with the language code of each row, {fixed: CODE} for one language, or detect to find the language of each row, with the checkpoint in this package or another one: {detect: CHECKPOINT}"]),
        ("{checkpoint: ckpt}", "ckpt", ['job.yaml:5: model: got "ckpt", expected a mapping with checkpoint, precision, objective']),
        ("{checkpoint: ckpt}", "", ["job.yaml:5: model: got nothing, expected a mapping with checkpoint, precision, objective"]),
        ("ckpt}", "[a]}", ["job.yaml:5: model.checkpoint: got a list, expected text"]),
        ("path: data/", "path: {a: b}", ["job.yaml:2: input.path: got a mapping, expected a path or a list of paths"]),
        ("path: data/", "path: []", ["job.yaml:2: input.path: got an empty list, expected parquet file, directory or glob, Delta or Iceberg table, or a list of them; local paths or object store URLs"]),
        ("path: data/", "path:\n    - a\n    - 7", ['job.yaml:4: input.path.1: got 7, expected text; write "7" in quotes']),
        ("text: body", "text: [a, b, c]", ["job.yaml:3: input.text: 3 columns are read as a premise and its choices, which only multiple-choice supports; name one or two"]),
        ("text: body", "text: [a]", ["job.yaml:3: input.text: a list is for the columns of a pair or of choices; write a single column without brackets"]),
        ("text: body", "text: [a, _xlm_b]", ["job.yaml:3: input.text.1: got _xlm_b, but names that start with _xlm_ are reserved; rename the column"]),
        ("lang: lang", "lang: lang\n  id: _xlm_row", ["job.yaml:5: input.id: got _xlm_row, but names that start with _xlm_ are reserved; rename the column"]),
        ("lang: lang", "lang: {fixd: de}", ["job.yaml:4: input.lang.fixd is not a setting; did you mean fixed?"]),
        ("lang: lang", "lang: {}", ["job.yaml:4: input.lang.fixed is missing: the language code of all rows, such as de"]),
        ("lang: lang", "lang: [de]", ["job.yaml:4: input.lang: got a list, expected a column, detect, {fixed: CODE} or {detect: CHECKPOINT}"]),
        ("lang: lang", "lang: {detect: lid, fixed: de}", ["job.yaml:4: input.lang: got fixed and detect, expected one of them"]),
        ("lang: lang", "lang: {detct: lid}", ["job.yaml:4: input.lang.detct is not a setting; did you mean detect?"]),
        ("lang: lang", "lang: {threshold: 0.5}", ["job.yaml:4: input.lang.detect is missing: directory or URL of a checkpoint that identifies languages"]),
        ("lang: lang", "lang: {detect: lid, threshold: 1.5}", ["job.yaml:4: input.lang.threshold: got 1.5, expected at most 1"]),
        ("lang: lang", 'lang: {detect: lid, threshold: "0.5"}', ['job.yaml:4: input.lang.threshold: got "0.5", expected a number without quotes']),
        ("lang: lang", "lang: {detect: 7}", ['job.yaml:4: input.lang.detect: got 7, expected text; write "7" in quotes']),
        ("lang: lang", "lang: {detect: lid}\n  keep: [url, Lang_score]", ["job.yaml:4: input.lang: detect adds detected_lang, lang_score to the output, which has Lang_score from the input; rename that column, as in keep: {source_lang_score: Lang_score}"]),
        ("- feature-extraction", "- feature-extractoin", ["job.yaml:7: tasks.0: feature-extractoin is not a task; did you mean feature-extraction?"]),
        ("- feature-extraction", "- translation: {}", ["job.yaml:7: tasks.0: translation is not a task; expected one of feature-extraction, text-classification, token-classification, question-answering, multiple-choice, fill-mask, lm-scoring, text-generation, alone or as TASK: {settings}"]),
        ("- feature-extraction", "- feature-extraction:\n    pooling: max", ["job.yaml:7: tasks.0: pooling is at the same level as feature-extraction; indent a task's settings below its name"]),
        ("- feature-extraction", "- feature-extraction:\n      poolng: max", ["job.yaml:8: tasks.0.feature-extraction.poolng is not a setting; did you mean pooling?"]),
        ("- feature-extraction", "- feature-extraction: {pooling: men}", ['job.yaml:7: tasks.0.feature-extraction.pooling: got "men", expected first, mean, last or max; did you mean mean?']),
        ("- feature-extraction", "- text-classification: {top_k: 0}", ["job.yaml:7: tasks.0.text-classification.top_k: got 0, expected at least 1"]),
        ("- feature-extraction", "- feature-extraction: {layer: last}", ['job.yaml:7: tasks.0.feature-extraction.layer: got "last", expected a layer such as -1, or a list of layers']),
        ("- feature-extraction", "- feature-extraction: {layer: 512}", ["job.yaml:7: tasks.0.feature-extraction.layer: got 512, expected at most 100"]),
        ("- feature-extraction", "- feature-extraction: {layer: []}", ["job.yaml:7: tasks.0.feature-extraction.layer: got an empty list, expected layer whose output is used, or a list of layers to average; 0 is the embeddings, -1 the last one"]),
        ("- feature-extraction", "- feature-extraction: {layer: [-1, 2.0]}", ["job.yaml:7: tasks.0.feature-extraction.layer.1: got 2.0, expected a whole number"]),
        ("- feature-extraction", "- feature-extraction: {truncate_dim: 0}", ["job.yaml:7: tasks.0.feature-extraction.truncate_dim: got 0, expected at least 1"]),
        ("- feature-extraction", "- feature-extraction: {dtype: int4}", ['job.yaml:7: tasks.0.feature-extraction.dtype: got "int4", expected float32, float16, int8 or binary; did you mean int8?']),
        ("- feature-extraction", "- feature-extraction: {windows: all}", ['job.yaml:7: tasks.0.feature-extraction.windows: got "all", expected mean or each']),
        ("- feature-extraction", "- feature-extraction: {dtype: int8}", [f"job.yaml:7: tasks.0.feature-extraction: {INT8}"]),
        ("- feature-extraction", "- feature-extraction: {calibration: out}", [f"job.yaml:7: tasks.0.feature-extraction: {INT8}"]),
        ("- feature-extraction", "- text-classification: {problem: multilabel}", ['job.yaml:7: tasks.0.text-classification.problem: got "multilabel", expected single-label, multi-label or regression; did you mean multi-label?']),
        ("- feature-extraction", "- text-classification: {threshold: 50}", ["job.yaml:7: tasks.0.text-classification.threshold: got 50, expected at most 1"]),
        ("- feature-extraction", "- text-classification: {problem: regression, top_k: 2}", ["job.yaml:7: tasks.0.text-classification: a regression writes values, not labels; remove top_k and scores"]),
        ("- feature-extraction", "- text-classification: {problem: regression, scores: true}", ["job.yaml:7: tasks.0.text-classification: a regression writes values, not labels; remove top_k and scores"]),
        ("- feature-extraction", "- text-classification: {problem: multi-label, top_k: 2}", ["job.yaml:7: tasks.0.text-classification: threshold selects the labels of a multi-label head; remove top_k"]),
        ("- feature-extraction", "- token-classification: {pieces: middle}", ['job.yaml:7: tasks.0.token-classification.pieces: got "middle", expected first, last, max or mean']),
        ("- feature-extraction", "- fill-mask: {top_k: 0}", ["job.yaml:7: tasks.0.fill-mask.top_k: got 0, expected at least 1"]),
        ("- feature-extraction", "- fill-mask: {mask: 7}", ['job.yaml:7: tasks.0.fill-mask.mask: got 7, expected text; write "7" in quotes']),
        ("- feature-extraction", '- fill-mask: {mask: ""}', ['job.yaml:7: tasks.0.fill-mask.mask: got "", expected string that marks a masked position in the text']),
        ("- feature-extraction", "- lm-scoring: {top_k: 1}", ["job.yaml:7: tasks.0.lm-scoring.top_k is not a setting; tasks.0.lm-scoring has prefix, head"]),
        ("- feature-extraction", "- text-generation: {max_new_tokens: 0}", ["job.yaml:7: tasks.0.text-generation.max_new_tokens: got 0, expected at least 1"]),
        ("- feature-extraction", "- text-generation: {sample: true, temperature: 0}", ["job.yaml:7: tasks.0.text-generation.temperature: got 0, expected more than 0"]),
        ("- feature-extraction", "- text-generation: {sample: true, top_p: 1.5}", ["job.yaml:7: tasks.0.text-generation.top_p: got 1.5, expected at most 1"]),
        ("- feature-extraction", "- text-generation: {sample: true, seed: -1}", ["job.yaml:7: tasks.0.text-generation.seed: got -1, expected at least 0"]),
        *(
            ("- feature-extraction", f"- text-generation: {{{setting}}}", ["job.yaml:7: tasks.0.text-generation: temperature, top_k, top_p and seed need sampling; set sample to true"])
            for setting in ("temperature: 0.5", "top_k: 2", "top_p: 0.5", "seed: 1")
        ),
        ("\n  - feature-extraction", " feature-extraction", ['job.yaml:6: tasks: got "feature-extraction", expected a list, as in tasks: ["feature-extraction"]']),
        ("\n  - feature-extraction", " []", ["job.yaml:6: tasks: got an empty list, expected what to compute; all tasks share one forward pass of the model"]),
    ],
)  # fmt: skip
def test_invalid_value_is_reported_in_one_line_with_its_position(problems, old, new, expected):
    assert old in MINIMAL
    assert problems(MINIMAL.replace(old, new)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tokenizer: {max_lenght: 7}", "tokenizer.max_lenght is not a setting; did you mean max_length?"),
        ("max_length: 7", "max_length is not a setting; did you mean tokenizer.max_length?"),
        ("zzz: 7", "zzz is not a setting; a job has name, input, storage, model, tasks, tokenizer, batch, output, policy, compute"),
        ("tokenizer: {max_length: 2}", "tokenizer.max_length: got 2, expected at least 3"),
        ('tokenizer: {max_length: "512"}', 'tokenizer.max_length: got "512", expected a whole number without quotes'),
        ("tokenizer: {max_length: 5.5}", "tokenizer.max_length: got 5.5, expected a whole number"),
        ("tokenizer: {max_length: yes}", "tokenizer.max_length: got \"yes\", expected a whole number"),
        ("tokenizer: {on_overflow: windows}", 'tokenizer.on_overflow: got "windows", expected truncate, window or reject; did you mean window?'),
        ("tokenizer: {overlap_tokens: -1}", "tokenizer.overlap_tokens: got -1, expected at least 0"),
        ("tokenizer: {overlap_tokens: half}", 'tokenizer.overlap_tokens: got "half", expected a whole number'),
        ("tokenizer: {bypass_tokenizer: 1}", "tokenizer.bypass_tokenizer: got 1, expected true or false"),
        ("bypass_tokenizer: true", "bypass_tokenizer is not a setting; did you mean tokenizer.bypass_tokenizer?"),
        ("tokenizer: {kytea_model: 1}", 'tokenizer.kytea_model: got 1, expected text; write "1" in quotes'),
        ("batch: {max_tokens: lots}", 'batch.max_tokens: got "lots", expected auto or a whole number from 1'),
        ("batch: {max_tokens: 0}", "batch.max_tokens: got 0, expected at least 1"),
        ("batch: {max_tokens: true}", "batch.max_tokens: got true, expected auto or a whole number from 1"),
        ('batch: {invariant: "yes"}', 'batch.invariant: got "yes", expected true or false without quotes'),
        ("policy: {max_rejected: 1.5}", "policy.max_rejected: got 1.5, expected at most 1"),
        ("policy: {max_rejected: -1}", "policy.max_rejected: got -1, expected at least 0"),
        ("policy: {max_rejected: few}", 'policy.max_rejected: got "few", expected a share such as 0.01, or a whole number of rows'),
        ("policy: {max_rejected: .nan}", "policy.max_rejected: got NaN (YAML reads .nan as NaN), expected a finite number"),
        ("policy: {unknown_lang: skip}", 'policy.unknown_lang: got "skip", expected reject or neutral'),
        ("compute: {gpus_per_model: 1.5}", "compute.gpus_per_model: got 1.5, expected a fraction below 1, or a whole number"),
        ("name: my job", 'name: got "my job", expected at most 63 letters, digits, dots, dashes and underscores, starting with a letter or digit'),
        ("name: 2024", 'name: got 2024, expected text; write "2024" in quotes'),
        ("batch: {max_tokens: 9223372036854775808}", '"9223372036854775808" does not fit in a signed 64-bit integer; write a smaller number'),
        ("policy: {unknown_lang: }", "policy.unknown_lang: got nothing, expected reject or neutral"),
        ("name: 0o10", 'name: got 8 (YAML reads 0o10 as 8), expected text; write "0o10" in quotes'),
        ("batch: {invariant: yes}", 'batch.invariant: got "yes", expected true or false'),
        ("policy: !!set {a}", "the tag !!set is not supported; write plain values"),
        ("policy: !!python/name:os.system x", "the tag !!python/name:os.system is not supported; write plain values"),
    ],
)  # fmt: skip
def test_invalid_optional_setting_is_reported_in_one_line_with_its_position(problems, line, expected):
    assert problems(f"{MINIMAL}{line}\n") == [f"job.yaml:9: {expected}"]


@pytest.mark.parametrize("objective", ["casual", "clm"])
def test_unknown_objective_is_refused(problems, objective):
    (line,) = problems(MINIMAL, f"model.objective={objective}")
    expected = f'--set model.objective: model.objective: got "{objective}", expected checkpoint, causal or masked'
    assert line == expected + ("; did you mean causal?" if objective == "casual" else "")
