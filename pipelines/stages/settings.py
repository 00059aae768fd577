"""The settings of the stages. The driver resolves a job file into them, before it imports Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pyarrow as pa
    import torch

    from pipelines.job import InputSettings, PolicySettings, TokenizerSettings
    from pipelines.stages.read import Reader
    from pipelines.stages.write import Writer
    from pipelines.tasks import Task
    from xlm_core import XLMTokenizer
    from xlm_core.inference import Model


@dataclass(frozen=True)
class IdentifyStageSettings:
    """What an identifier process needs.

    Attributes:
        load: builds the tokenizer, the model, and the task that classifies texts by language; called once in each
            process.
        text_columns: the input's text columns.
        id_column: the column that identifies a row.
        max_length: maximum number of tokens of a text.
        bypass_tokenizer: whether texts are words separated by spaces.
        schema: of the rows passed on: input columns, languages and scores.
        timeout_s: limit on the time without progress.
    """

    load: Callable[[], tuple[XLMTokenizer, Model, Task[Any]]]
    text_columns: list[str]
    id_column: str | None
    max_length: int
    bypass_tokenizer: bool
    schema: pa.Schema
    timeout_s: float


@dataclass(frozen=True)
class TokenizeStageSettings:
    """What a tokenizer process needs.

    Attributes:
        load: builds the tokenizer; called once in each process.
        input: the input columns and their roles.
        tokenizer: what to do with rows that are longer than `max_length`.
        max_length: maximum number of tokens of a row; within the model's positions.
        segmenters: the segmenters of the job, as in `ShardRecord`.
        policy: what to do with rows of an unknown language.
        mask_marker: what stands for a mask in a text, if a task fills masks.
        has_choices: whether the texts of a row are a premise and choices.
        schema: of the rows passed on.
        timeout_s: limit on the time without progress.
    """

    load: Callable[[], XLMTokenizer]
    input: InputSettings
    tokenizer: TokenizerSettings
    max_length: int
    segmenters: Mapping[str, str]
    policy: PolicySettings
    mask_marker: str | None
    has_choices: bool
    schema: pa.Schema
    timeout_s: float


@dataclass(frozen=True)
class InferStageSettings:
    """What a model process needs.

    Attributes:
        job: the job's name, for metrics.
        load: builds trunk and tasks, given a device, a data type, the maximum number of tokens per forward pass, and a
            folder in which the processes of a node share the trunk, if they do; called once in each process.
        precision: "auto" is float32 on a CPU, and on a GPU float16, in which the released checkpoints were trained.
        max_tokens: maximum number of tokens per forward pass; None for the default of the device and the model.
        text_columns: the input's text columns.
        schema: of the rows passed on: input columns and results.
        timeout_s: limit on the time without progress.
    """

    job: str
    load: Callable[[torch.device, torch.dtype, int | None, Path | None], tuple[Model, list[Task[Any]]]]
    precision: str
    max_tokens: int | None
    text_columns: list[str]
    schema: pa.Schema
    timeout_s: float


@dataclass(frozen=True)
class StageSettings:
    """The settings of the stages; `identify` is None if the job does not detect languages."""

    read: Reader
    identify: IdentifyStageSettings | None
    tokenize: TokenizeStageSettings
    infer: InferStageSettings
    write: Writer
