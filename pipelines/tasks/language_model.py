"""fill-mask, lm-scoring and text-generation: the tasks of the language model head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from pipelines.errors import FatalError
from pipelines.tasks.task import Task, check_width, list_column, list_of, required, struct_column
from xlm_core import LanguageModelHead
from xlm_core.generation.generate import GenerationSettings, generate
from xlm_core.generation.scoring import perplexity, score_causal, score_masked, sum_scores
from xlm_core.model.packing import cumulative_lengths

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.rows.sequences import Sequences
    from pipelines.tasks.settings import FillMask, LmScoring, TextGeneration
    from pipelines.tasks.task import Collector, Model, Pass
    from xlm_core import XLMConfig

_TOKEN = pa.struct([required("token", pa.string()), required("score", pa.float32())])


class LanguageModelTask(Task):
    """What these tasks have in common: the head, over the trunk's own vocabulary."""

    def __init__(self, spec: FillMask | LmScoring | TextGeneration, config: XLMConfig, head: XLMConfig):
        check_width(spec, head, config)
        if head.vocab_size != config.vocab_size:
            raise FatalError(
                f"{spec.kind}: {spec.head_url} has {head.vocab_size} words, the checkpoint {config.vocab_size}; name a "
                "head that was trained on this checkpoint"
            )
        self.columns, self.config = spec.columns, config
        self._loaded: tuple[Model, LanguageModelHead] | None = None

    def load(self, model: Model, head: Path) -> None:
        """See `Task`."""
        loaded = LanguageModelHead.from_pretrained(head, dtype=model.trunk.embeddings.weight.dtype, device=model.device)
        if loaded.config.tie_word_embeddings and head == model.checkpoint:
            loaded.tie(model.trunk.embeddings)
        self._loaded = model, loaded

    @property
    def model(self) -> Model:
        """The loaded trunk."""
        assert self._loaded is not None
        return self._loaded[0]

    @property
    def head(self) -> LanguageModelHead:
        """The loaded head."""
        assert self._loaded is not None
        return self._loaded[1]


class MaskFilling(LanguageModelTask):
    """See `FillMask`."""

    def __init__(self, spec: FillMask, config: XLMConfig, head: XLMConfig):
        super().__init__(spec, config, head)
        if config.causal:
            raise FatalError(
                "fill-mask: the model is causal, and sees nothing of what follows a mask; use a masked checkpoint, or "
                "set model.objective to masked if it was trained so"
            )
        self.top_k = min(spec.top_k, config.vocab_size)

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        return [
            required(
                self.columns[0],
                list_of(list_of(_TOKEN)),
                {"lists": "one for each mask that was not cut off, best token first"},
            )
        ]

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _MaskCollector(self, shard)


class _MaskCollector:
    def __init__(self, task: MaskFilling, shard: Sequences):
        self.task, self.shard = task, shard
        is_mask = shard.ids == task.model.tokenizer.mask_token_id
        self.masks = np.flatnonzero(is_mask & _text_tokens(shard, causal=False))
        self.number = np.full(len(shard.ids), -1)  # of each token among the masks
        self.number[self.masks] = np.arange(len(self.masks))
        self.ids = np.empty((len(self.masks), task.top_k), np.int64)
        self.scores = np.empty((len(self.masks), task.top_k), np.float32)

    def add(self, step: Pass) -> None:
        number = self.number[step.tokens]
        here = np.flatnonzero(number >= 0)
        if len(here):
            places = torch.from_numpy(here).to(step.hidden_TD.device)
            scores, ids = self.task.head.top_k(step.hidden_TD[places], self.task.top_k)
            self.ids[number[here]], self.scores[number[here]] = ids.cpu().numpy(), scores.float().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        size, k = self.ids.shape
        words = self.task.model.tokenizer.convert_ids_to_tokens(self.ids.reshape(-1).tolist())
        tokens = [word.removesuffix("</w>") for word in words]
        items = struct_column(_TOKEN, token=tokens, score=self.scores.reshape(-1))
        per_mask = list_column(list_of(_TOKEN), np.arange(size + 1) * k, items)
        row_of_token = np.repeat(self.shard.row_ids, self.shard.lengths)
        borders = np.searchsorted(row_of_token[self.masks], np.arange(len(self.shard.rows) + 1))
        return [list_column(self.task.fields[0].type, borders, per_mask)]


class Scoring(LanguageModelTask):
    """See `LmScoring`."""

    def __init__(self, spec: LmScoring, config: XLMConfig, head: XLMConfig):
        super().__init__(spec, config, head)
        self.reads_pass = config.causal

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        about = {"objective": "causal" if self.config.causal else "masked: pseudo-log-likelihood"}
        num_tokens, log_likelihood, perplexities = self.columns
        return [
            required(num_tokens, pa.int32(), {"counts": "the tokens that are scored: the text's own"}),
            required(log_likelihood, pa.float64(), about),
            required(perplexities, pa.float64(), about),
        ]

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _ScoreCollector(self, shard)


class _ScoreCollector:
    """Of tokens that stand in two windows, that with more context counts."""

    def __init__(self, task: Scoring, shard: Sequences):
        self.task, self.shard = task, shard
        self.scored = _text_tokens(shard, causal=task.config.causal)
        self.scores = np.full(len(shard.ids), np.nan, np.float32)

    def add(self, step: Pass) -> None:
        scores = score_causal(self.task.head, step.hidden_TD, step.batch.input_ids, step.batch.cu_seqlens)
        self.scores[step.tokens] = scores.float().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        shard, task, scores = self.shard, self.task, self.scores
        if not task.config.causal:
            scores = score_masked(
                task.model.trunk,
                task.head,
                shard.ids,
                shard.cu_seqlens,
                shard.langs,
                self.scored,
                task.model.tokenizer.mask_token_id,
                1 if task.model.invariant else task.model.max_tokens,
            )
        sums, counts = sum_scores(scores, self.scored, shard.cu_seqlens[shard.borders])
        return [
            pa.array(counts, pa.int32()),
            pa.array(sums, pa.float64()),
            pa.array(perplexity(sums, counts), pa.float64()),
        ]


class Generation(LanguageModelTask):
    """See `TextGeneration`."""

    reads_pass = False

    def __init__(self, spec: TextGeneration, config: XLMConfig, head: XLMConfig):
        super().__init__(spec, config, head)
        if not config.causal:
            raise FatalError(
                "text-generation: the checkpoint's config.json says causal: false; a masked model cannot go on with a "
                "text. If this one was trained causally, set model.objective to causal"
            )
        self.spec = spec

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        return [required(self.columns[0], pa.string())]

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _GenerationCollector(self, shard)


class _GenerationCollector:
    def __init__(self, task: Generation, shard: Sequences):
        self.task, self.shard = task, shard

    def add(self, step: Pass) -> None:
        raise AssertionError("text-generation takes no pass of the trunk")

    def columns(self) -> list[pa.Array]:
        task, shard, spec, model = self.task, self.shard, self.task.spec, self.task.model
        assert task.config.mask_token_id is not None
        prompts = shard.lengths - 1  # the mark of the end is what a prompt lacks
        kept = np.ones(len(shard.ids), np.bool_)
        kept[shard.cu_seqlens[1:] - 1] = False
        settings = GenerationSettings(
            max_new_tokens=spec.max_new_tokens,
            mask_token_id=task.config.mask_token_id,
            eos_token_ids=(task.model.tokenizer.sep_token_id,),
            do_sample=spec.sample,
            temperature=spec.temperature,
            top_k=spec.top_k or 0,
            top_p=spec.top_p,
            seed=spec.seed,
        )
        max_tokens = 1 if model.invariant else model.max_tokens
        ids, borders = generate(
            model.trunk,
            task.head,
            shard.ids[kept],
            cumulative_lengths(prompts),
            shard.langs,
            settings,
            max_tokens=max_tokens,
        )
        texts = [
            task.model.tokenizer.decode(ids[start:end].tolist(), skip_special_tokens=True)
            for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)
        ]
        return [pa.array(texts, pa.string())]


def _text_tokens(shard: Sequences, *, causal: bool) -> NDArray[np.bool_]:
    """Mark the tokens of both texts, each once where windows overlap: bool [T]."""
    chosen = np.zeros(len(shard.ids), np.bool_)
    for text in ("first", "last"):
        chosen[shard.once(text, causal=causal)] = True
    return chosen
