"""Write the demo: a corpus with a few invalid rows, sentences with their translations, and a job that annotates both.

For the ready jobs in `jobs/specs`, it has three small tables of questions, choices and masked texts, and a checkpoint
with random weights and a head for each task.
"""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs.demo.vocabulary import write_vocabulary
from xlm_core import (
    MultipleChoiceHead,
    QuestionAnsweringSimpleHead,
    Segmenters,
    SequenceClassificationHead,
    TokenClassificationHead,
    XLMConfig,
    XLMWithLMHeadModel,
)
from xlm_core.text import lower_and_strip_accents

TOPICS = ["food", "news", "science", "sport", "travel", "weather"]
UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()  # noqa: SIM905

JOB = """\
# The demo's job. A second run has nothing to do. If you add a file to corpus/, a run computes only that file.
name: demo
input:
  path: ["{folder}/corpus/", "{folder}/translations.parquet"]
  id: id
  text: text
  lang: detect                        # or a column with the languages
  keep: [lang, text, year]
  filter: "year >= 2020"
model: {{checkpoint: "builtin://small"}}
tasks:                                # all tasks share one pass of the trunk
  - feature-extraction: {{layer: 1, pooling: mean, normalize: true}}
  - token-classification: {{head: "builtin://small/heads/upos"}}
tokenizer: {{max_length: 128, ja: fugashi}}
output: {{path: "{folder}/out", rows_per_shard: 64}}
policy: {{max_rejected: 0.05}}         # the corpus contains a few invalid rows
"""

TABLES = ("questions", "choices", "masked")

_TEMPORARY = ".incomplete-"  # the beginning of a name


def write_demo(folder: Path) -> Path:
    """Write a corpus, translations, a checkpoint, heads and a job to a folder. Existing ones are not changed.

    Each of them appears complete or not at all, so that the next call adds what an interrupted one did not write.

    Returns:
        The path of the job file.
    """
    folder = folder.absolute()
    job = folder / "job.yaml"
    tables = [f"{table}.parquet" for table in ("translations", *TABLES)]
    paths = [folder / name for name in ("corpus", "checkpoint", "heads", *tables)]
    missing = [path for path in (*paths, job) if not path.exists()]
    if not missing:
        return job
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob(f"{_TEMPORARY}*"):  # by a process that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    rows = read_rows("corpus")
    with TemporaryDirectory(prefix=_TEMPORARY, dir=folder) as name:
        temporary = Path(name)
        write_corpus(temporary / "corpus", rows)
        write_checkpoint(temporary, rows)
        translations = pa.Table.from_pylist(read_rows("translations"))
        years = pa.array([2024] * len(translations), pa.int16())
        pq.write_table(translations.append_column("year", years), temporary / "translations.parquet")
        for table in TABLES:
            pq.write_table(pa.Table.from_pylist(read_rows(table)), temporary / f"{table}.parquet")
        settings = JOB.format(folder=json.dumps(str(folder), ensure_ascii=False)[1:-1])
        (temporary / job.name).write_text(settings, encoding="utf-8")
        for path in missing:
            (temporary / path.name).rename(path)
    return job


def read_rows(table: str) -> list[dict[str, str]]:
    """Read the rows of one of the demo's tables: the corpus, translations, questions, choices or masked texts."""
    text = (files("jobs.demo") / f"{table}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def write_corpus(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write the corpus as two Parquet files. Rows that are rejected are spread among the others."""
    columns: dict[str, list[str | bytes | None]] = {
        name: [row[name] for row in rows] for name in ("id", "lang", "text", "topic")
    }
    years = [2018 + i % 8 for i in range(len(rows))]
    invalid = [
        ("bad-null", "en", None),
        ("bad-empty", "de", " \t\n"),
        ("bad-lang", "tlh", "nuqneH"),
        ("bad-no-lang", None, "A row without a language."),
        ("bad-utf8", "fr", b"d\xe9j\xe0 vu, in Latin-1"),
    ]
    for i, (row_id, lang, text) in enumerate(invalid):
        position = (i + 1) * len(rows) // (len(invalid) + 1)
        for name, value in (("id", row_id), ("lang", lang), ("text", text), ("topic", None)):
            columns[name].insert(position, value)
        years.insert(position, 2024)
    # String columns of real corpora can contain invalid UTF-8, because Parquet writers do not check it.
    raw = [text.encode() if isinstance(text, str) else text for text in columns["text"]]
    table = pa.table(
        {
            "id": columns["id"],
            "lang": pa.array(columns["lang"], pa.string()),
            "text": pa.array(raw, pa.binary()).view(pa.string()),
            "topic": pa.array(columns["topic"], pa.string()),
            "year": pa.array(years, pa.int16()),
        }
    )
    folder.mkdir(parents=True)
    half = len(table) // 2
    pq.write_table(table.slice(0, half), folder / "part-1.parquet", row_group_size=128)
    pq.write_table(table.slice(half), folder / "part-2.parquet", row_group_size=128)


def write_checkpoint(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write a checkpoint with a language model head, and heads of its other tasks, with random weights from a seed."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    segmenters = Segmenters(ja="fugashi")
    words: list[str] = []
    for row in rows:
        for word in segmenters.segment(row["text"], row["lang"]).words:
            words += lower_and_strip_accents(word)[0].split(" ")
    size = write_vocabulary(checkpoint, words, num_merges=3000)
    langs = sorted({row["lang"] for row in rows})
    lang2id = {lang: i for i, lang in enumerate(langs)}
    settings = {
        "do_lowercase_and_remove_accent": True,
        "lang2id": lang2id,
        "id2lang": {str(i): lang for lang, i in lang2id.items()},
    }
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    torch.manual_seed(0)
    shape = {"vocab_size": size, "emb_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128}
    base = shape | {"n_langs": len(langs), "lang2id": lang2id, "id2lang": settings["id2lang"]}
    XLMWithLMHeadModel(XLMConfig.from_dict(base)).save_pretrained(checkpoint)
    heads = {
        "topic": (SequenceClassificationHead, {"id2label": dict(enumerate(TOPICS))}),
        "upos": (TokenClassificationHead, {"id2label": dict(enumerate(UPOS))}),
        "answer": (QuestionAnsweringSimpleHead, {}),
        "choice": (MultipleChoiceHead, {"id2label": {0: "score"}}),
    }
    for name, (kind, changes) in heads.items():
        kind(XLMConfig.from_dict(base | changes)).save_pretrained(folder / "heads" / name)
