"""Prepare the checkpoint of `input.lang: {detect: …}`: does it identify languages, and can the job use them?"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints import load_identifier, local_checkpoint, pin_checkpoint, read_tokenizer, url_in_errors
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.job import DetectedLang, TokenizerSettings
from pipelines.rows import identified_schema
from pipelines.run.checks.heads import pin_heads
from pipelines.run.checks.languages import find_setup_problem
from pipelines.stages import IdentifyStageSettings
from pipelines.tasks import TextClassification
from xlm_core import check_checkpoint
from xlm_core.checkpoint import check_finite
from xlm_core.inference import default_max_length, head_labels, trained_problem
from xlm_core.languages import canonical_lang, is_missing_lang
from xlm_core.tokenizer import check_vocab_size

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from pipelines.checkpoints import PinnedCheckpoint
    from pipelines.job import Job
    from pipelines.rows import RowColumns
    from pipelines.storage import StoreSettings
    from pipelines.tasks import Task
    from xlm_core import XLMTokenizer

_MAX_LABELS = 5  # in a message


@dataclass(frozen=True)
class Detection:
    """What identifies the languages of a job.

    Attributes:
        checkpoint: with the trunk and the tokenizer.
        head: the checkpoint with its head.
        task: classifies texts with the head; without weights.
        langs: the language codes that it can find.
        max_length: maximum number of tokens of a text.
        warnings: what may be wrong with the checkpoint.
    """

    checkpoint: PinnedCheckpoint
    head: PinnedCheckpoint
    task: Task[Any]
    langs: list[str]
    max_length: int
    warnings: list[str]

    @property
    def hashes(self) -> dict[str, str | None]:
        """The content hashes of the checkpoint and of the head; None if the checkpoint contains the head."""
        head = None if self.head == self.checkpoint else self.head.content_hash
        return {"checkpoint": self.checkpoint.content_hash, "head": head}

    def describe(self, job: Job, tokenizer: XLMTokenizer) -> str:
        """Check that a job can use the languages that may be found, and describe them.

        Args:
            job: the job.
            tokenizer: that of the job's checkpoint.

        Raises:
            FatalError: every language that may be found is unknown to the job's checkpoint and would have its rows
                rejected, or the segmenter of one cannot be used.
        """
        resolved = {lang: tokenizer.resolve_lang(lang) for lang in self.langs}
        unknown = [lang for lang, known in resolved.items() if known is None]
        url, num_langs = self.checkpoint.url, format_count(len(resolved), "language")
        is_rejecting = job.policy.unknown_lang == "reject"
        if len(unknown) == len(resolved) and is_rejecting:
            raise FatalError(
                f"input.lang: none of the {num_langs} that {url} identifies is in the lang2id of "
                f"{job.model.checkpoint}, so every row would be rejected; name another checkpoint, or set "
                "policy.unknown_lang to neutral"
            )
        if not job.tokenizer.bypass_tokenizer:
            for lang, known in resolved.items():
                if known is not None and (problem := find_setup_problem(tokenizer, known)):
                    raise FatalError(f"input.lang: {url} may find {lang} in any row: {problem}")
        note = f"input.lang: {url} finds the language of each row during the run, one of {num_langs}"
        if unknown:
            fate = "rejected" if is_rejecting else "run without a language"
            note += (
                f"; rows in these are {fate}, because they are not in the checkpoint's lang2id: {', '.join(unknown)}"
            )
        return note

    def stage_settings(self, job: Job, columns: RowColumns) -> IdentifyStageSettings:
        """Return the settings of the identify stage."""
        return IdentifyStageSettings(
            load=partial(load_identifier, self.checkpoint, self.head, self.task, job.batch.invariant),
            text_columns=job.input.text_columns,
            id_column=job.input.id,
            max_length=self.max_length,
            bypass_tokenizer=job.tokenizer.bypass_tokenizer,
            schema=identified_schema(columns),
            timeout_s=job.policy.shard_timeout_s,
        )


def pin_detection(settings: DetectedLang, stores: Sequence[StoreSettings], notify: Callable[[str], None]) -> Detection:
    """Pin the checkpoint that identifies languages, and its head, and check both.

    Args:
        settings: the setting `input.lang`.
        stores: options of object stores.
        notify: receives a message before a download.

    Raises:
        FatalError: the checkpoint or the head cannot be used, or its labels are not language codes.
    """
    url, task = settings.detect, TextClassification(head=settings.head)
    with _named_in_errors():
        pinned = pin_checkpoint(url, stores, notify)
        folder = local_checkpoint(pinned)
        with url_in_errors(url, folder):
            config = check_checkpoint(folder, "trunk")
            check_finite(folder, "trunk")
            tokenizer = read_tokenizer(TokenizerSettings(), folder)
        warnings = [warning.replace(str(folder), url) for warning in tokenizer.warnings]
        warnings += check_vocab_size(tokenizer.vocab, config.vocab_size, url)
        ((head, head_folder),) = pin_heads([task], url, pinned, folder, stores, notify, "input.lang.detect")
        with url_in_errors(head.url, head_folder):
            head_config = task.read_head_config("sequence-classification", head_folder, config)
            if (problem := trained_problem(head_config)) not in (None, "single-label"):
                raise FatalError(f"{head.url}: the head was trained for {problem}, expected single-label")
            prepared = task.prepare(config, head_folder, [])
        langs = head_labels(head_config)
        others = [label for label in langs if canonical_lang(label) is None and not is_missing_lang(label)]
        if others:
            shown = ", ".join(others[:_MAX_LABELS]) + (" …" if others[_MAX_LABELS:] else "")
            raise FatalError(
                f"{len(others)} of the {format_count(len(langs), 'label')} of {head.url} are not language codes "
                f"({shown}); name a head that identifies languages"
            )
    return Detection(pinned, head, prepared, langs, default_max_length(config), warnings)


@contextmanager
def _named_in_errors() -> Generator[None]:
    """Begin the messages of FatalErrors with the setting."""
    try:
        yield
    except FatalError as error:
        raise FatalError(f"input.lang: {str(error).removeprefix('text-classification: ')}") from None
