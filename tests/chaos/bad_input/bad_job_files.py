"""Job files that no job can be read from, and settings that contradict each other."""

from typing import Any

from tests.chaos.bad_input.bench import Bench, Refused, Spoil


def content(data: str | bytes) -> Spoil:
    """Have the job file hold this, and nothing else."""
    return lambda bench: setattr(bench, "spec", data if isinstance(data, bytes) else data.encode())


def more(lines: str) -> Spoil:
    """Put lines at the end of a job that works."""
    return lambda bench: setattr(bench, "spec", (bench.text() + lines).encode())


def setting(key: str, value: Any) -> Spoil:
    """Change one setting of a job that works."""
    return lambda bench: bench.set(key, value)


def settings(**changes: Any) -> Spoil:
    """Change several, with `__` for the dots."""

    def change(bench: Bench) -> None:
        for key, value in changes.items():
            bench.set(key.replace("__", "."), value)

    return change


def replaced(old: str, new: str) -> Spoil:
    """Change the text of a job that works."""

    def replace(bench: Bench) -> None:
        assert old in bench.text()
        bench.spec = bench.text().replace(old, new, 1).encode()

    return replace


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)

SPECS = [
    Refused(
        "a job file that is not there",
        lambda b: b.job_file.symlink_to("gone.yaml"),
        "cannot be read (No such file or directory)",
    ),
    Refused("a directory for a job file", lambda b: b.job_file.mkdir(), "cannot be read (Is a directory)"),
    Refused("an empty job file", content(""), "got nothing, expected a mapping with input, model, tasks and output"),
    Refused("a job file of comments only", content("# to do\n"), "got nothing, expected a mapping"),
    Refused("a binary job file", content(bytes(range(256))), "not a text file in UTF-8"),
    Refused("a job file in UTF-16", lambda b: setattr(b, "spec", b.text().encode("utf-16")), "not a text file in"),
    Refused("a job file in Latin-1", content("name: caf\xe9".encode("latin-1")), "not a text file in UTF-8"),
    Refused("a job file that is JSON cut off", content('{"input": {"path": "x"'), "not YAML"),
    Refused("a job file that is a web page", content("<!doctype html><title>404</title>"), "expected a mapping"),
    Refused("a list for a job", content("- input\n- model\n"), "got a list, expected a mapping"),
    Refused("two documents in a job file", more("---\nname: b\n"), "not YAML"),
    Refused("a tab for indentation", replaced("  id: id", "\tid: id"), "not YAML"),
    Refused("a key given twice", more("model: {checkpoint: b}\n"), "model is given twice, first at line"),
    Refused("a key that is a list", more("? [a]\n: b\n"), "a key that YAML does not read as text, a list or mapping"),
    Refused("aliases that multiply (billion laughs)", content(BOMB), "more than 100000 values"),
    Refused("an alias to itself", content("a: &a [*a]"), "nests too deep"),
    Refused("a hundred thousand brackets", content("x: " + "[" * 100_000), "job.yaml:1: n"),
    Refused("a tag that would run code", more("name: !!python/object/apply:os.system [id]\n"), "is not supported"),
    Refused("a tag that would make an object", more("name: !!python/object:os.path {}\n"), "write plain values"),
    Refused(
        "no, which YAML reads as false, for a language",
        replaced("lang: lang", "lang: {fixed: no}"),
        'got false (YAML reads no as false), expected text; write "no" in quotes',
    ),
    Refused("a misspelt setting", setting("tokenizer.max_lenght", 5), "did you mean max_length?"),
    Refused("a misspelt section", more("inputs: {}\n"), "did you mean input?"),
    Refused("a setting in the wrong section", setting("batch.max_length", 5), "did you mean tokenizer.max_length?"),
    Refused("a setting of no meaning", more("zzz: 1\n"), "zzz is not a setting"),
    Refused("text for a number", setting("tokenizer.max_length", "128"), "expected a whole number without quotes"),
    Refused("a number for text", setting("input.text", 7), "expected a column or a list of columns"),
    Refused("a list for a mapping", setting("model", ["a"]), "got a list, expected a mapping with checkpoint"),
    Refused("nothing for a section", setting("input", None), "input: got nothing (YAML reads null as nothing)"),
    Refused("NaN for a share", setting("policy.max_rejected", float("nan")), "policy.max_rejected: got"),
    Refused("infinity for GPUs", setting("compute.gpus_per_model", float("inf")), "expected a finite number"),
    Refused("a share above one", setting("policy.max_rejected", 1.5), "expected at most 1"),
    Refused("a number below zero", setting("output.rows_per_shard", -1), "expected at least 1"),
    Refused("a number of 400 digits", replaced("max_length: 128", f"max_length: {'9' * 400}"), "more than 64 bits"),
    Refused("an unknown choice", setting("model.precision", "flaot16"), "did you mean float16?"),
    Refused("an unknown task", setting("tasks", ["feature-extractoin"]), "did you mean feature-extraction?"),
    Refused("no tasks", setting("tasks", []), "tasks: got an empty list"),
    Refused(
        "two tasks that write one column",
        setting("tasks", ["feature-extraction"] * 2),
        "set the name of the task, which is put before its columns",
    ),
    Refused("a column kept twice", setting("input.keep", ["lang", "lang"]), "lang is listed twice; remove one"),
    Refused("a column kept that is the id", setting("input.keep", ["id"]), "which is always in the output"),
    Refused(
        "a column name that is reserved",
        setting("input.keep", ["_xlm_row"]),
        "names that start with _xlm_ are reserved; rename the column",
    ),
    Refused("an empty column name", setting("input.text", ""), "input.text: got"),
    Refused(
        "windows that overlap wholly",
        settings(tokenizer__on_overflow="window", tokenizer__overlap_tokens=500),
        "a window has room for 126 tokens",
    ),
    Refused(
        "generation from windows",
        settings(tasks=["text-generation"], tokenizer__on_overflow="window"),
        "cannot merge windows",
    ),
    Refused("choices from one column", setting("tasks", [{"multiple-choice": {"head": "h"}}]), "multiple-choice needs"),
    Refused(
        "question-answering over one column",
        setting("tasks", [{"question-answering": {"head": "h"}}]),
        "question-answering needs two columns, [question, context]",
    ),
    Refused(
        "a filter that calls something",
        setting("input.filter", "__import__('os').system('id')"),
        "is not part of the filter language",
    ),
    Refused("a filter that cannot be read", setting("input.filter", "year >="), "is not readable"),
    Refused("a filter of endless brackets", setting("input.filter", "(" * 5000 + "a" + ")" * 5000), "input.filter: "),
    Refused("a filter on a column that is not there", setting("input.filter", "yaer > 3"), "no column yaer"),
    Refused("a filter of another type", setting("input.filter", "text > 3"), "is a number, and text is string"),
    Refused("a name with markup", setting("name", "<script>alert(1)</script>"), "letters, digits, dots, dashes"),
    Refused("a null byte in a path", replaced("path: ", 'path: "\\0" #'), "input.path"),
    Refused(
        "one language for all rows, which the checkpoint lacks",
        setting("input.lang", {"fixed": "tlh"}),
        "'tlh' is not in the checkpoint's lang2id; its languages are ar, bg, de",
    ),
    Refused(
        "Japanese without a model",
        settings(input__lang={"fixed": "ja"}, tokenizer__ja="kytea"),
        "set tokenizer.kytea_model to a model file, or tokenizer.ja to fugashi",
    ),
    Refused("more positions than the model has", setting("tokenizer.max_length", 129), "tokenizer.max_length is 129"),
]
