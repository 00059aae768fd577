"""Prepare a training before Ray starts: check everything that can be checked, and plan the rows of each objective."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints import load_tokenizer, local_checkpoint, pin_checkpoint, read_tokenizer, url_in_errors
from pipelines.corpus import ShardLimits, plan_shards, survey_corpus
from pipelines.errors import FatalError
from pipelines.job import FixedLang, InputSettings, PolicySettings
from pipelines.rows import RowColumns, is_words, read_schema, renamed_columns, token_schema
from pipelines.run import check_fixed_lang, choose_max_length
from pipelines.stages import Reader, TokenizeStageSettings
from pipelines.storage import Location, locate
from pipelines.train.examples import EncodeSettings, ExampleCorpus
from pipelines.train.layout import EXAMPLES_FOLDER, ROWS_PER_SHARD
from pipelines.training_job import (
    CausalSettings,
    HeadSettings,
    ObjectiveSettings,
    RankingSettings,
    SequenceSettings,
    TokenSettings,
    TranslatedSettings,
    TranslationSettings,
)
from xlm_core import XLMConfig, check_checkpoint
from xlm_core.inference import check_layer, read_head_config

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipelines.checkpoints import PinnedCheckpoint
    from pipelines.training_job import TrainingJob
    from xlm_core import XLMTokenizer

_NO_LIMIT = 2**30  # tokens: streams have no longest row
_ID_CHARS = 12


@dataclass(frozen=True)
class PreparedTraining:
    """A training that can run.

    Attributes:
        job: its settings.
        output: where it writes.
        fingerprint: everything that changes its result.
        checkpoint: that it starts from, or the directory of the tokenizer of a new model.
        heads: for each objective, the head that it starts from; None for a new one.
        config: of the trunk.
        rows: for each objective, the rows it learns from.
        dev: for each objective with held out rows, these.
        label_types: for each objective, the type of its column of labels.
    """

    job: TrainingJob
    output: Location
    fingerprint: dict[str, Any]
    checkpoint: PinnedCheckpoint
    heads: dict[str, PinnedCheckpoint | None]
    config: XLMConfig
    rows: dict[str, ExampleCorpus]
    dev: dict[str, ExampleCorpus]
    label_types: dict[str, pa.DataType | None]

    @property
    def corpora(self) -> list[ExampleCorpus]:
        """The rows to learn from, and those that are held out, of all objectives."""
        return [*self.rows.values(), *self.dev.values()]


def prepare_training(job: TrainingJob, notify: Callable[[str], None] = lambda _: None) -> PreparedTraining:
    """Check a training against its corpora, checkpoint and heads. Only the footers of the input files are read.

    Raises:
        FatalError: the training cannot work; the message says what to correct.
        RetryableError: a store does not answer.
    """
    output = locate(job.output.path, job.storage)
    url = job.model.checkpoint or job.model.tokenizer
    assert url is not None  # TrainingJob requires one of both
    checkpoint = pin_checkpoint(url, job.storage, notify)
    folder = local_checkpoint(checkpoint)
    with url_in_errors(url, folder):
        tokenizer = read_tokenizer(job.tokenizer, folder)
        config = check_checkpoint(folder, "trunk") if job.model.checkpoint else new_config(job, tokenizer)
    config = _adapt_config(job, config)
    max_length = choose_max_length(job.tokenizer, 1, 0, config, url)
    heads: dict[str, PinnedCheckpoint | None] = {}
    rows: dict[str, ExampleCorpus] = {}
    dev: dict[str, ExampleCorpus] = {}
    types: dict[str, pa.DataType | None] = {}
    for objective in job.objectives:
        title = objective.title
        _check_stream(objective, config)
        if isinstance(objective, RankingSettings | SequenceSettings):
            check_layer(title, objective.layer, config, "model")
        heads[title] = _pin_head(job, objective, config, notify)
        build = partial(_corpus, job, objective, checkpoint, tokenizer, max_length, output)
        rows[title], types[title] = build(title, objective.input)
        if objective.dev is not None:
            path, condition = objective.dev.path or objective.input.path, objective.dev.filter
            held_out = objective.input.model_copy(update={"path": path, "filter": condition})
            if held_out == objective.input:
                raise FatalError(f"{title}: dev has the same rows as input; set a path or a filter for both")
            dev[title], _ = build(f"{title}, dev", held_out)
    fingerprint = _fingerprint(job, checkpoint, heads, [*rows.values(), *dev.values()])
    return PreparedTraining(job, output, fingerprint, checkpoint, heads, config, rows, dev, types)


def _pin_head(
    job: TrainingJob, objective: ObjectiveSettings, config: XLMConfig, notify: Callable[[str], None]
) -> PinnedCheckpoint | None:
    """Pin the head that an objective trains further, and check that it fits the trunk; None for a new one."""
    if not isinstance(objective, HeadSettings) or objective.head is None:
        return None
    head = pin_checkpoint(objective.head, job.storage, notify)
    folder = local_checkpoint(head)
    with url_in_errors(objective.head, folder):
        read_head_config(objective.title, objective.head_kind, folder, config)
    return head


def new_config(job: TrainingJob, tokenizer: XLMTokenizer) -> XLMConfig:
    """Return the configuration of a new model, with the vocabulary and the languages of its tokenizer."""
    lang2id = tokenizer.lang2id or {}
    derived: dict[str, Any] = {
        "vocab_size": max(tokenizer.vocab.values()) + 1,
        "n_langs": max(1, len(lang2id)),
        "mask_token_id": tokenizer.mask_token_id,
        "mask_index": tokenizer.mask_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "unk_index": tokenizer.unk_token_id,
    }
    if lang2id:
        derived |= {"lang2id": dict(lang2id), "id2lang": {i: lang for lang, i in lang2id.items()}}
    given = job.model.config or {}
    if wrong := sorted(given.keys() & derived.keys()):
        raise FatalError(f"model.config: {', '.join(wrong)} follow from the tokenizer; remove them")
    if "embed_init_std" not in given and isinstance(dim := given.get("emb_dim"), int) and dim > 0:
        derived["embed_init_std"] = dim**-0.5
    try:
        return XLMConfig.from_dict(given | derived)
    except FatalError as error:
        raise FatalError(f"model.config: {error}") from None


def _adapt_config(job: TrainingJob, config: XLMConfig) -> XLMConfig:
    if job.model.dropout is not None:
        config = replace(config, dropout=job.model.dropout, attention_dropout=job.model.dropout)
    if any(isinstance(objective, CausalSettings | TranslationSettings) for objective in job.objectives):
        config = replace(config, causal=job.objectives[0].kind == CausalSettings.kind)
    return config


def _stream_tokens(objective: ObjectiveSettings) -> int | None:
    return objective.stream_tokens if isinstance(objective, CausalSettings) else None


def _check_stream(objective: ObjectiveSettings, config: XLMConfig) -> None:
    stream = _stream_tokens(objective)
    if stream is not None and stream > config.max_position_embeddings:
        raise FatalError(
            f"{objective.title}: stream_tokens is {stream}, but the model has positions for "
            f"{config.max_position_embeddings} tokens; set it lower"
        )


def _corpus(
    job: TrainingJob,
    objective: ObjectiveSettings,
    checkpoint: PinnedCheckpoint,
    tokenizer: XLMTokenizer,
    max_length: int,
    output: Location,
    title: str,
    source: InputSettings,
) -> tuple[ExampleCorpus, Any]:
    """Plan the rows of an objective, and return the type of its labels, too."""
    source = source.model_copy(update={"keep": [c for c in objective.columns if c not in source.text_columns]})
    corpus = survey_corpus(source, job.storage)
    plan = plan_shards(corpus, ShardLimits(ROWS_PER_SHARD))
    label = plan.schema.field(objective.columns[0]).type if objective.label_columns else None
    if isinstance(objective, TokenSettings) and not is_words(plan.schema.field(source.text_columns[0]).type):
        raise FatalError(f"{title}: column {source.text_columns[0]} contains texts, expected lists of words")
    if isinstance(source.lang, FixedLang):
        check_fixed_lang(source.lang.fixed, tokenizer, reject_unknown=job.policy.unknown_lang == "reject")
    columns = RowColumns(
        corpus=plan.schema,
        id=source.id,
        keep=source.kept,
        text=source.text_columns,
        lang=source.lang_column,
        counts=(),
        needs_offsets=objective.needs_offsets,
    )
    policy = PolicySettings(unknown_lang=job.policy.unknown_lang)
    if _stream_tokens(objective) is not None:
        max_length = _NO_LIMIT
    elif objective.kind == TranslationSettings.kind:
        max_length //= 2  # both texts are one sequence
    texts = [
        TokenizeStageSettings(
            load=partial(load_tokenizer, job.tokenizer, checkpoint),
            input=text,
            tokenizer=job.tokenizer,
            max_length=max_length,
            segmenters={},
            policy=policy,
            mask_marker=None,
            has_choices=objective.reads_choices,
            schema=token_schema(columns),
            timeout_s=policy.shard_timeout_s,
        )
        for text in _texts(objective, source)
    ]
    # The files of examples depend on everything that decides their content.
    identity = [
        objective.model_dump(mode="json"),
        source.model_dump(mode="json"),
        job.tokenizer.model_dump(mode="json"),
    ]
    identity += [max_length, checkpoint.content_hash, job.policy.unknown_lang]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_ID_CHARS]
    folder = output / EXAMPLES_FOLDER / f"{objective.title}-{digest}"
    reader = Reader(read_schema(columns), plan.schema.names, source.filter, renamed_columns(columns), job.storage)
    return ExampleCorpus(title, reader, plan.shards, EncodeSettings(objective, texts, folder)), label


def _texts(objective: ObjectiveSettings, source: InputSettings) -> list[InputSettings]:
    """Return the input of each text that is tokenized on its own: of a translation, each in its language."""
    if not isinstance(objective, TranslatedSettings):
        return [source]
    first, second = source.text_columns
    other: dict[str, Any] = {"text": second, "lang": objective.second_lang}
    return [source.model_copy(update={"text": first}), source.model_copy(update=other)]


def _fingerprint(
    job: TrainingJob,
    checkpoint: PinnedCheckpoint,
    heads: dict[str, PinnedCheckpoint | None],
    corpora: list[ExampleCorpus],
) -> dict[str, Any]:
    settings = job.model_dump(mode="json", exclude={"name", "storage", "compute"})
    settings["training"].pop("save_every_s")
    for name in ("path", "tensorboard"):
        settings["output"].pop(name)
    shards = hashlib.sha256("\n".join(s for c in corpora for s in c.shards["shard"].to_pylist()).encode())
    return {
        **settings,
        "checkpoint": checkpoint.content_hash,
        "heads": {title: head and head.content_hash for title, head in heads.items()},
        "input files": shards.hexdigest(),
    }
