"""The continuation of each row's text by a causal language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.generation import GenerationSettings, generate
from xlm_core.inference.run import Collector
from xlm_core.ragged import cumulative_lengths

if TYPE_CHECKING:
    from xlm_core.decoding import Sequences
    from xlm_core.heads import LanguageModelHead
    from xlm_core.inference.model import Model


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen; see `GenerationSettings`. By default the most likely token is taken.

    Attributes:
        max_new_tokens: maximum number of new tokens for each text.
        sample: draw each token by its probability.
        temperature, top_k, top_p: change the distribution before sampling; `top_k` of None keeps all tokens.
        seed: of the draws, which also depend on the text.
    """

    max_new_tokens: int = 64
    sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0


class ContinuationCollector(Collector[list[str]]):
    """Generates a text for each row, of one sequence each. It runs the trunk itself, once for each new token."""

    reads_pass = False

    def __init__(self, sequences: Sequences, model: Model, head: LanguageModelHead, sampling: Sampling):
        self._sequences, self._model, self._head, self._sampling = sequences, model, head, sampling

    def result(self) -> list[str]:
        """See `Collector`."""
        sequences, sampling, tokenizer = self._sequences, self._sampling, self._model.tokenizer
        mask_token_id = self._model.trunk.config.mask_token_id
        assert mask_token_id is not None
        in_prompt = np.ones(len(sequences.input_ids), np.bool_)
        in_prompt[sequences.cu_seqlens[1:] - 1] = False  # a prompt has no end token
        ids, offsets = generate(
            self._model.trunk,
            self._head,
            sequences.input_ids[in_prompt],
            cumulative_lengths(sequences.lengths - 1),
            sequences.langs,
            GenerationSettings(
                max_new_tokens=sampling.max_new_tokens,
                mask_token_id=mask_token_id,
                eos_token_ids=(tokenizer.sep_token_id,),
                do_sample=sampling.sample,
                temperature=sampling.temperature,
                top_k=sampling.top_k or 0,
                top_p=sampling.top_p,
                seed=sampling.seed,
            ),
            max_tokens=self._model.own_pass_tokens,
            on_progress=self.on_progress,
        )
        return [
            tokenizer.decode(ids[start:end].tolist(), skip_special_tokens=True)
            for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ]
