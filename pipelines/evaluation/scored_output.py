"""Read the results of one task from an output, with their gold labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.errors import FatalError
from pipelines.evaluation.gold import Gold, GoldRows
from pipelines.evaluation.gold_labels import choose_column, read_labels
from pipelines.evaluation.matching import Matching
from pipelines.evaluation.measures import build_measure, has_measure
from pipelines.formatting import excerpt
from pipelines.result_rows import LoadedOutput, hash_ids
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.evaluation.matching import Coverage
    from pipelines.evaluation.measures import Measure
    from pipelines.tasks import TaskSettings

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


class GoldOptions(NamedTuple):
    """Where the gold labels are.

    Attributes:
        url: their Parquet files; None if the task needs none.
        column: the column with the labels; by default the one with a usual name, or the only other one.
        id_columns: the columns that identify a row; by default those of the output.
        lang_column: the column with the language; by default the language is that of the output, and if it has none,
            the column is `input.lang`.
        where: a condition as `input.filter` that selects gold labels.
        allow_missing: whether rows or labels may be missing on one side.
    """

    url: str | None = None
    column: str | None = None
    id_columns: Sequence[str] = ()
    lang_column: str | None = None
    where: str | None = None
    allow_missing: bool = False


@dataclass(frozen=True)
class ScoredOutput:
    """The results of one task with their gold labels.

    Attributes:
        url: the output.
        task: the settings of the task.
        columns: the result columns that are measured.
        gold_column: the column with the gold labels; None without gold labels.
        measure: has all rows.
        ids: [N], of rows, or of pairs of rows.
        langs: str [N], as objects; None if the languages are not known.
        coverage: number of rows on one side only.
        doubt: what is probably wrong with the gold labels; None if nothing is.
    """

    url: str
    task: TaskSettings
    columns: list[str]
    gold_column: str | None
    measure: Measure
    ids: pa.Array
    langs: NDArray[np.object_] | None
    coverage: Coverage
    doubt: str | None

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Hashes of the ids."""
        return hash_ids(self.ids)


def read_scored_output(url: str, options: GoldOptions, column: str | None = None) -> ScoredOutput:
    """Read the results of one task, and match them with gold labels.

    Args:
        url: the output of a job.
        options: where the gold labels are.
        column: one of the result columns of the task; needed if several tasks can be measured.

    Raises:
        FatalError: there is no such output, or the gold labels do not fit it.
    """
    output = LoadedOutput(locate(url))
    task = _choose_task(output, column)
    measure = build_measure(task, output.schema)
    gold, names, lang_column = _read_gold(output, measure, task, options)
    matching = Matching(output, measure.columns, gold, lang_column)
    ids: list[pa.Array] = []
    langs: list[pa.Array | None] = []
    for rows in matching.batches():
        measure.add(rows)
        ids.append(rows.ids)
        langs.append(rows.langs)
    doubt = _check(output, options, matching.coverage, measure)
    all_langs = None if langs[0] is None else pa.concat_arrays([lang.cast(pa.string()) for lang in langs if lang])
    all_ids, all_langs = measure.finish(pa.concat_arrays(ids), all_langs)
    codes = None if all_langs is None else np.array(all_langs.to_pylist(), object)
    gold_column = names[0] if names else None
    return ScoredOutput(
        output.url, task, measure.columns, gold_column, measure, all_ids, codes, matching.coverage, doubt
    )


def _choose_task(output: LoadedOutput, column: str | None) -> TaskSettings:
    tasks = [task for task in output.tasks if has_measure(task)]
    if column is not None:
        tasks = [task for task in tasks if column in task.columns]
    if len(tasks) == 1:
        return tasks[0]
    columns = ", ".join(excerpt(task.columns[0]) for task in output.tasks if has_measure(task))
    if column is not None:
        raise FatalError(f"{output.url}: {excerpt(column)} is not a result column with metrics; name one of {columns}")
    if not tasks:
        kinds = ", ".join(task.kind for task in output.tasks) or "tasks of another version of this program"
        raise FatalError(f"{output.url}: there are no metrics for its tasks ({kinds})")
    raise FatalError(f"{output.url}: has several tasks with metrics; name a result column with --column: {columns}")


def _read_gold(
    output: LoadedOutput, measure: Measure, task: TaskSettings, options: GoldOptions
) -> tuple[GoldRows | None, list[str], str | None]:
    """Return the gold labels with the label as the first column, their columns, and their language column."""
    if not measure.gold_names:
        if options.url is not None:
            raise FatalError(f"{task.kind} is measured without gold labels; remove --gold")
        return None, [], None
    if options.url is None:
        raise FatalError(f"{task.kind} is compared with gold labels; name their Parquet files with --gold")
    gold = Gold(options.url, options.id_columns or output.id_columns, options.where)
    lang_column = options.lang_column
    if lang_column is not None:
        gold.field(lang_column, "--lang")
    elif output.no_langs_reason is not None and output.input_lang_column in gold.schema.names:
        lang_column = output.input_lang_column
    name = choose_column(gold, measure, options.column, others=[lang_column] if lang_column else [])
    names = [name, *measure.gold_columns(gold.schema.names)]
    rows = read_labels(gold, name, [*names[1:], *([lang_column] if lang_column else [])])
    return rows, names, lang_column


def _check(output: LoadedOutput, options: GoldOptions, coverage: Coverage, measure: Measure) -> str | None:
    """Check that the rows can be measured; returns what is doubtful, if it is allowed."""
    if not coverage.both and options.url is None:
        raise FatalError(f"{output.url}: has no rows; the job rejected all of them")
    if not coverage.both:
        names = " and ".join(options.id_columns or output.id_columns)
        raise FatalError(f"{output.url} and {options.url} have no common ids ({names}); name the column with --id")
    missing = coverage.describe()
    if missing and not options.allow_missing:
        raise FatalError(f"{output.url}: {missing}; select gold labels with --filter, or use --allow-missing")
    if problem := measure.problem():
        raise FatalError(f"{output.url}: {problem}")
    doubt = measure.doubt()
    if doubt and not options.allow_missing:
        raise FatalError(f"{output.url}: {doubt}; correct --gold-column or the labels, or use --allow-missing")
    return doubt
