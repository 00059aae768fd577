"""Build the model, its heads and the objectives in a worker process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipelines.checkpoints import local_checkpoint
from pipelines.errors import FatalError
from pipelines.train.examples import find_labels, find_langs, find_problem, read_example_files, to_examples
from pipelines.training_job import (
    AnswerSettings,
    CausalSettings,
    ChoiceSettings,
    HeadSettings,
    MaskedSettings,
    RankingSettings,
    SampledSettings,
    SequenceSettings,
    SplitSettings,
    TokenSettings,
    TranslationSettings,
)
from xlm_core.checkpoint import inspect_checkpoint
from xlm_core.heads import (
    Head,
    LanguageModelHead,
    MultipleChoiceHead,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    SequenceClassificationHead,
    TokenClassificationHead,
)
from xlm_core.inference import head_labels
from xlm_core.model import Trunk, init_local_attention
from xlm_core.training import (
    LM_HEAD,
    BpeDropout,
    CausalLanguageModeling,
    MaskedLanguageModeling,
    Masking,
    MultipleChoice,
    QuestionAnswering,
    RowSampler,
    Schedule,
    SequenceClassification,
    StreamSampler,
    TokenClassification,
    TrainedObjective,
    Trainer,
    TrainerSettings,
    TrainingModel,
    TranslationLanguageModeling,
    TranslationRanking,
    freeze,
    group_by_lang,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.checkpoints import PinnedCheckpoint
    from pipelines.storage import Location
    from pipelines.training_job import ObjectiveSettings, TrainingJob
    from xlm_core import XLMConfig
    from xlm_core.training import Examples, Objective, Sampler

_CPU_MAX_TOKENS, _GPU_MAX_TOKENS = 4_096, 16_384
_HEAD_CLASSES: dict[str, type[Head]] = {
    head.kind: head
    for head in (
        SequenceClassificationHead,
        TokenClassificationHead,
        MultipleChoiceHead,
        QuestionAnsweringSimpleHead,
        QuestionAnsweringHead,
    )
}
_PROBLEM_TYPES = {
    "single-label": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True)
class ExampleFiles:
    """The files of encoded examples, in the order of the plan."""

    folder: Location
    shards: list[str]

    def read(self) -> pa.Table:
        """Read all examples."""
        return read_example_files(self.folder, self.shards)


@dataclass(frozen=True)
class BuildSettings:
    """What a worker needs to build the model and its objectives.

    Attributes:
        job: the training job.
        config: of the trunk.
        checkpoint: that the training starts from; None for a new model.
        heads: for each objective, the head that it starts from; None for a new one.
        rows, dev: the examples of each objective.
        label_types: of each objective, the type of its column of labels.
        special_ids: tokens that are never masked.
        mask_id: the token that replaces masked ones.
        token_parts: int32 [V, 2], the two parts of each token, see `find_parts`.
    """

    job: TrainingJob
    config: XLMConfig
    checkpoint: PinnedCheckpoint | None
    heads: dict[str, PinnedCheckpoint | None]
    rows: dict[str, ExampleFiles]
    dev: dict[str, ExampleFiles]
    label_types: dict[str, pa.DataType | None]
    special_ids: list[int]
    mask_id: int
    token_parts: NDArray[np.int32]


def build_trainer(settings: BuildSettings, device: torch.device, folder: Path) -> Trainer:
    """Build the trainer of one worker. All workers build the same weights.

    Args:
        settings: what to build.
        device: where the worker trains.
        folder: for files with the output of a frozen trunk, which must exist as long as the trainer does.

    Raises:
        FatalError: labels do not fit a head, or an objective has no rows.
    """
    job = settings.job
    max_tokens, autocast = _choose_passes(job, device)
    torch.manual_seed(job.training.seed)
    trunk = _build_trunk(settings)
    heads: dict[str, Head] = {}
    trained: dict[str, TrainedObjective] = {}
    for seed, spec in enumerate(job.objectives):
        title = spec.title
        table = settings.rows[title].read()
        if not len(table):
            raise FatalError(f"{title}: no rows; correct the path or the filter")
        label_type = settings.label_types[title]
        problem = find_problem(spec, label_type) if isinstance(spec, SequenceSettings) and label_type else None
        head = _build_head(settings, spec, table, problem, heads)
        if head is not None:
            heads[title if spec.trains_head else LM_HEAD] = head
        labels = head_labels(head.config) if head is not None else []
        examples = to_examples(spec, table, labels, problem)
        dev = None if title not in settings.dev else to_examples(spec, settings.dev[title].read(), labels, problem)
        objective = _build_objective(settings, spec, head, examples)
        if job.model.freeze:
            trunk.to(device).eval()
            examples = freeze(examples, trunk, objective, folder / title, max_tokens, autocast)
            if dev is not None:
                dev = freeze(dev, trunk, objective, folder / f"{title}.dev", max_tokens, autocast)
        sampler = _build_sampler(spec, examples, job.training.seed + seed)
        dropout = _build_bpe_dropout(settings, spec)
        trained[title] = TrainedObjective(objective, sampler, spec.weight, dev, spec.tokens_per_step, dropout)
    model = TrainingModel(trunk, heads, freeze_trunk=job.model.freeze).to(device)
    epoch_tokens = sum(objective.sampler.epoch_tokens for objective in trained.values())
    return Trainer(model, trained, _trainer_settings(job, max_tokens, autocast, epoch_tokens))


def _choose_passes(job: TrainingJob, device: torch.device) -> tuple[int, torch.dtype | None]:
    """Return the maximum number of tokens of a pass, and the precision of its matrix products, None for float32."""
    default = _GPU_MAX_TOKENS if device.type == "cuda" else _CPU_MAX_TOKENS
    max_tokens = default if job.training.max_tokens == "auto" else job.training.max_tokens
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    half = job.model.precision == "bfloat16" or (job.model.precision == "auto" and has_bfloat16)
    return max_tokens, torch.bfloat16 if half else None


def _trainer_settings(
    job: TrainingJob, max_tokens: int, autocast: torch.dtype | None, epoch_tokens: int
) -> TrainerSettings:
    spec = job.training
    tokens_per_step = job.objectives[0].tokens_per_step or spec.tokens_per_step  # with epochs, there is one objective
    steps = spec.steps or max(1, round((spec.epochs or 0) * epoch_tokens / tokens_per_step))
    return TrainerSettings(
        schedule=Schedule(spec.learning_rate, min(spec.warmup_steps, steps), steps, spec.decay),
        tokens_per_step=spec.tokens_per_step,
        max_tokens=max_tokens,
        max_grad_norm=spec.max_grad_norm,
        weight_decay=spec.weight_decay,
        average_decay=spec.average,
        autocast=autocast,
        seed=spec.seed,
    )


def _build_trunk(settings: BuildSettings) -> Trunk:
    trunk = Trunk(settings.config)
    if settings.checkpoint is not None:
        trunk.load_state_dict(Trunk.from_pretrained(local_checkpoint(settings.checkpoint)).state_dict())
    elif settings.job.model.init == "local":
        init_local_attention(trunk)
    return trunk


def _build_head(
    settings: BuildSettings, spec: ObjectiveSettings, table: pa.Table, problem: str | None, heads: dict[str, Head]
) -> Head | None:
    """Load the head of an objective, or build a new one with the labels of its examples; None if it has none."""
    if isinstance(spec, RankingSettings):
        return None
    if not spec.trains_head:
        return heads.get(LM_HEAD) or _build_lm_head(settings)
    assert isinstance(spec, HeadSettings)
    head_class = _HEAD_CLASSES[spec.head_kind]
    if (pinned := settings.heads[spec.title]) is not None:
        head = head_class.from_pretrained(local_checkpoint(pinned))
        earlier, new = head.config.trained_langs, find_langs(table, settings.config.id2lang)
        langs = sorted({*earlier, *new}) if earlier is not None and new is not None else None
        head.config = replace(head.config, trained_langs=langs)
        return head
    return head_class(_head_config(settings.config, spec, table, problem))


def _build_lm_head(settings: BuildSettings) -> LanguageModelHead:
    folder = None if settings.checkpoint is None else local_checkpoint(settings.checkpoint)
    if folder is not None and "language-modeling" in inspect_checkpoint(folder).heads:
        return LanguageModelHead.from_pretrained(folder)
    return LanguageModelHead(settings.config)


def _head_config(config: XLMConfig, spec: ObjectiveSettings, table: pa.Table, problem: str | None) -> XLMConfig:
    langs = find_langs(table, config.id2lang)
    changes: dict[str, Any] = {"summary_first_dropout": config.dropout, "trained_langs": langs}
    if isinstance(spec, AnswerSettings):
        labels = ["start", "end"]
    elif isinstance(spec, ChoiceSettings):
        labels = ["score"]
    elif problem == "regression":
        number = len(table["label_values"][0].as_py())
        labels = [spec.columns[0]] if number == 1 else [f"{spec.columns[0]}_{i}" for i in range(number)]
    else:
        labels = find_labels(table)
        if len(labels) < 2 and problem != "multi-label":
            raise FatalError(f"{spec.title}: the rows have {len(labels)} different labels, expected at least 2")
    if isinstance(spec, SequenceSettings):
        assert problem is not None
        changes |= {"problem_type": _PROBLEM_TYPES[problem]}
        changes |= {"summary_type": spec.pooling, "summary_layer": spec.layer}
    return replace(config, id2label=dict(enumerate(labels)), label2id={}, **changes)


def _build_objective(settings: BuildSettings, spec: ObjectiveSettings, head: Any, examples: Examples) -> Objective:
    match spec:
        case MaskedSettings():
            return MaskedLanguageModeling(head, _masking(settings, spec, examples))
        case TranslationSettings():
            return TranslationLanguageModeling(head, _masking(settings, spec, examples))
        case CausalSettings():
            return CausalLanguageModeling(head)
        case RankingSettings():
            return TranslationRanking(spec.pooling, spec.layer, spec.temperature, spec.margin)
        case SequenceSettings():
            return SequenceClassification(head, spec.label_smoothing)
        case TokenSettings():
            return TokenClassification(head, spec.label_smoothing)
        case ChoiceSettings():
            return MultipleChoice(head)
        case AnswerSettings():
            return QuestionAnswering(head)
        case _:
            raise AssertionError(spec.kind)


def _masking(settings: BuildSettings, spec: MaskedSettings | TranslationSettings, examples: Examples) -> Masking:
    counts = np.bincount(examples.sequences.input_ids, minlength=settings.config.vocab_size)
    return Masking.from_counts(counts, settings.special_ids, settings.mask_id, spec.mask_share, spec.frequency_exponent)


def _build_bpe_dropout(settings: BuildSettings, spec: ObjectiveSettings) -> BpeDropout | None:
    if not isinstance(spec, SplitSettings) or not spec.bpe_dropout:
        return None
    return BpeDropout(settings.token_parts, spec.bpe_dropout, settings.config.max_position_embeddings)


def _build_sampler(spec: ObjectiveSettings, examples: Examples, seed: int) -> Sampler:
    groups = group_by_lang(examples)
    alpha = spec.alpha if isinstance(spec, SampledSettings) else None
    if isinstance(spec, CausalSettings) and spec.stream_tokens is not None:
        return StreamSampler(examples, groups, spec.alpha, seed, spec.stream_tokens)
    return RowSampler(examples, groups, alpha, seed)
