"""Job files that cannot be read, and settings that are invalid or contradict each other."""

from typing import Any

from tests.chaos.bad_input.outcomes import Refused
from tests.chaos.bad_input.trial_job import Change, TrialJob


def write_job_file(data: str | bytes) -> Change:
    """Write this as the job file."""
    return lambda job: setattr(job, "job_file_bytes", data if isinstance(data, bytes) else data.encode())


def append_lines(lines: str) -> Change:
    """Append lines to a valid job file."""
    return lambda job: setattr(job, "job_file_bytes", (job.to_yaml() + lines).encode())


def set_value(key: str, value: Any) -> Change:
    """Change one setting of a valid job."""
    return lambda job: job.set(key, value)


def set_values(**changes: Any) -> Change:
    """Change several settings of a valid job, with `__` for the dots."""

    def change(job: TrialJob) -> None:
        for key, value in changes.items():
            job.set(key.replace("__", "."), value)

    return change


def replace_text(old: str, new: str) -> Change:
    """Replace a part of a valid job file."""

    def replace(job: TrialJob) -> None:
        assert old in job.to_yaml()
        job.job_file_bytes = job.to_yaml().replace(old, new, 1).encode()

    return replace


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)

JOB_FILES = [
    Refused(
        "a missing job file",
        lambda b: b.job_file.symlink_to("gone.yaml"),
        "cannot be read (No such file or directory)",
    ),
    Refused("a directory as the job file", lambda b: b.job_file.mkdir(), "cannot be read (Is a directory)"),
    Refused(
        "an empty job file", write_job_file(""), "got nothing, expected a mapping with input, model, tasks and output"
    ),
    Refused("a job file with only comments", write_job_file("# to do\n"), "got nothing, expected a mapping"),
    Refused("a binary job file", write_job_file(bytes(range(256))), "not a text file in UTF-8"),
    Refused(
        "a job file in UTF-16",
        lambda b: setattr(b, "job_file_bytes", b.to_yaml().encode("utf-16")),
        "not a text file in",
    ),
    Refused("a job file in Latin-1", write_job_file("name: caf\xe9".encode("latin-1")), "not a text file in UTF-8"),
    Refused("a job file that is truncated JSON", write_job_file('{"input": {"path": "x"'), "not YAML"),
    Refused("a job file that is a web page", write_job_file("<!doctype html><title>404</title>"), "expected a mapping"),
    Refused("a list as the job", write_job_file("- input\n- model\n"), "got a list, expected a mapping"),
    Refused("two documents in a job file", append_lines("---\nname: b\n"), "not YAML"),
    Refused("indentation with a tab", replace_text("  id: id", "\tid: id"), "not YAML"),
    Refused("a key given twice", append_lines("model: {checkpoint: b}\n"), "model is given twice, first at line"),
    Refused(
        "a key that is a list", append_lines("? [a]\n: b\n"), "a key that YAML does not read as text, a list or mapping"
    ),
    Refused("aliases that multiply (billion laughs)", write_job_file(BOMB), "more than 100000 values"),
    Refused("an alias to itself", write_job_file("a: &a [*a]"), "nested too deeply"),
    Refused("100,000 opening brackets", write_job_file("x: " + "[" * 100_000), "job.yaml:1: n"),
    Refused(
        "a tag that would run code", append_lines("name: !!python/object/apply:os.system [id]\n"), "is not supported"
    ),
    Refused(
        "a tag that would create an object", append_lines("name: !!python/object:os.path {}\n"), "write plain values"
    ),
    Refused(
        "a number that YAML 1.1 reads as octal",
        replace_text("max_length: 128", "max_length: 0128"),
        'got "0128", expected a whole number; write numbers in decimal digits, without leading zeros',
    ),
    Refused("a misspelled setting", set_value("tokenizer.max_lenght", 5), "did you mean max_length?"),
    Refused("a misspelled section", append_lines("inputs: {}\n"), "did you mean input?"),
    Refused("a setting in the wrong section", set_value("batch.max_length", 5), "did you mean tokenizer.max_length?"),
    Refused("an unknown setting", append_lines("zzz: 1\n"), "zzz is not a setting"),
    Refused(
        "text instead of a number", set_value("tokenizer.max_length", "128"), "expected a whole number without quotes"
    ),
    Refused("a number instead of text", set_value("input.text", 7), "expected a column or a list of columns"),
    Refused("a list instead of a mapping", set_value("model", ["a"]), "got a list, expected a mapping with checkpoint"),
    Refused("null as a section", set_value("input", None), "input: got nothing (YAML reads null as nothing)"),
    Refused("NaN as a share", set_value("policy.max_rejected", float("nan")), "policy.max_rejected: got"),
    Refused(
        "infinity as a number of GPUs", set_value("compute.gpus_per_model", float("inf")), "expected a finite number"
    ),
    Refused("a share above one", set_value("policy.max_rejected", 1.5), "expected at most 1"),
    Refused("a negative number", set_value("output.rows_per_shard", -1), "expected at least 1"),
    Refused(
        "a number with 400 digits",
        replace_text("max_length: 128", f"max_length: {'9' * 400}"),
        "does not fit in a signed 64-bit integer",
    ),
    Refused("an unknown choice", set_value("model.precision", "flaot16"), "did you mean float16?"),
    Refused("an unknown task", set_value("tasks", ["feature-extractoin"]), "did you mean feature-extraction?"),
    Refused("no tasks", set_value("tasks", []), "tasks: got an empty list"),
    Refused(
        "two tasks that write one column",
        set_value("tasks", ["feature-extraction"] * 2),
        "set the prefix of the task, as in prefix: my_",
    ),
    Refused("a column kept twice", set_value("input.keep", ["lang", "lang"]), "lang is listed twice; remove one"),
    Refused("the id column kept", set_value("input.keep", ["id"]), "which is always in the output"),
    Refused(
        "a reserved column name",
        set_value("input.keep", ["_xlm_row"]),
        "names that start with _xlm_ are reserved; rename the column",
    ),
    Refused("an empty column name", set_value("input.text", ""), "input.text: got"),
    Refused(
        "windows that overlap completely",
        set_values(tokenizer__on_overflow="window", tokenizer__overlap_tokens=500),
        "a window has room for 126 tokens",
    ),
    Refused(
        "text generation with windows",
        set_values(tasks=["text-generation"], tokenizer__on_overflow="window"),
        "cannot merge windows",
    ),
    Refused(
        "multiple choice over one column",
        set_value("tasks", [{"multiple-choice": {"head": "h"}}]),
        "multiple-choice needs",
    ),
    Refused(
        "question answering over one column",
        set_value("tasks", [{"question-answering": {"head": "h"}}]),
        "question-answering needs two columns, [question, context]",
    ),
    Refused(
        "a filter that calls a function",
        set_value("input.filter", "__import__('os').system('id')"),
        "is not part of the filter language",
    ),
    Refused("a filter with a syntax error", set_value("input.filter", "year >="), "is not valid"),
    Refused(
        "a filter with 5,000 nested brackets",
        set_value("input.filter", "(" * 5000 + "a" + ")" * 5000),
        "input.filter: ",
    ),
    Refused("a filter on a missing column", set_value("input.filter", "yaer > 3"), "no column yaer"),
    Refused(
        "a filter that compares different types",
        set_value("input.filter", "text > 3"),
        "is a number, and text is string",
    ),
    Refused("a name with markup", set_value("name", "<script>alert(1)</script>"), "letters, digits, dots, dashes"),
    Refused("a null byte in a path", replace_text("path: ", 'path: "\\0" #'), "input.path"),
    Refused(
        "a fixed language that is a null as text",
        set_value("input.lang", {"fixed": "nan"}),
        "'nan' means no language, so every row would be rejected; set a language code, such as nan_Hant",
    ),
    Refused(
        "a fixed language that is not in the checkpoint",
        set_value("input.lang", {"fixed": "tlh"}),
        "'tlh' is not in the checkpoint's lang2id; its languages are ar, bg, de",
    ),
    Refused(
        "languages to be detected by a checkpoint that is not in the package",
        set_value("input.lang", {"detect": "builtin://large"}),
        "builtin://large: no such checkpoint; the package contains builtin://small",
    ),
    Refused(
        "a threshold for detected languages above 1",
        set_value("input.lang", {"detect": "lid", "threshold": 50}),
        "input.lang.threshold: got 50, expected at most 1",
    ),
    Refused(
        "Japanese without a KyTea model",
        set_values(input__lang={"fixed": "ja"}, tokenizer__ja="kytea"),
        "set tokenizer.kytea_model to a model file, or tokenizer.ja to fugashi",
    ),
    Refused("more positions than the model has", set_value("tokenizer.max_length", 129), "tokenizer.max_length is 129"),
]
