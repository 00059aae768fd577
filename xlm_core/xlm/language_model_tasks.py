"""The tasks of a language model head: fill, score, generate."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from xlm_core.errors import check_positive
from xlm_core.heads import LanguageModelHead
from xlm_core.inference import (
    ContinuationCollector,
    MaskCollector,
    Sampling,
    ScoreCollector,
    check_causal,
    check_masked,
)
from xlm_core.xlm.results import Fill, TextScore
from xlm_core.xlm.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.xlm.texts import Texts


class LanguageModelTasks(Runner):
    """Adds the tasks of a language model head."""

    @overload
    def fill(
        self,
        texts: str,
        lang: str,
        *,
        pairs: str | Texts | None = ...,
        head: str | Path | None = ...,
        top_k: int = ...,
        mask: str = ...,
    ) -> list[tuple[Fill, ...]]: ...
    @overload
    def fill(
        self,
        texts: Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = ...,
        head: str | Path | None = ...,
        top_k: int = ...,
        mask: str = ...,
    ) -> list[list[tuple[Fill, ...]]]: ...
    def fill(
        self,
        texts: str | Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = None,
        head: str | Path | None = None,
        top_k: int = 5,
        mask: str = "<mask>",
    ) -> list[tuple[Fill, ...]] | list[list[tuple[Fill, ...]]]:
        """Predict the tokens at each mask of each text. The model must be masked.

        Args:
            texts: one text, or N texts.
            lang: one language code, or N of them.
            pairs: second texts of pairs.
            head: the directory of the head, if it is not that of the checkpoint.
            top_k: maximum number of tokens for each mask.
            mask: the string that marks a mask in a text.

        Returns:
            For each text, a list with the best tokens for each mask that was not cut off; a single list for one text.

        Raises:
            FatalError: the head is missing, does not fit the trunk, or the model is causal.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        check_positive("top_k", top_k)
        if not mask:
            raise ValueError("mask: got an empty string, expected the string that marks a mask in the texts")
        loaded = self._heads.load("fill-mask", LanguageModelHead, self._heads.folder(head))
        check_masked(self.model.trunk.config)
        num_tokens = min(top_k, self.model.trunk.config.vocab_size)
        inputs = self._read(texts, lang, pairs)
        found: list[list[tuple[Fill, ...]]] = []
        for chunk in self._run(
            inputs,
            lambda sequences, _: MaskCollector(sequences, self.model, loaded, num_tokens),
            with_offsets=True,
            mask_marker=mask,
        ):
            row_offsets, tokens, scores = chunk.result
            fills = [Fill(token, score) for token, score in zip(tokens, scores.reshape(-1).tolist(), strict=True)]
            masks = [tuple(fills[i : i + num_tokens]) for i in range(0, len(fills), num_tokens)]
            found += [masks[row_offsets[i] : row_offsets[i + 1]] for i in chunk.source]
        return found[0] if inputs.is_single else found

    @overload
    def score(
        self, texts: str, lang: str, *, pairs: str | Texts | None = ..., head: str | Path | None = ...
    ) -> TextScore: ...
    @overload
    def score(
        self, texts: Texts, lang: str | Texts, *, pairs: str | Texts | None = ..., head: str | Path | None = ...
    ) -> list[TextScore]: ...
    def score(
        self,
        texts: str | Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = None,
        head: str | Path | None = None,
    ) -> TextScore | list[TextScore]:
        """Score each text under the language model.

        A causal model scores each token given the tokens before it. A masked model scores each token given all others,
        with one token masked at a time, which takes a forward pass per token. Special tokens are not scored.

        Args:
            texts: one text, or N texts.
            lang: one language code, or N of them.
            pairs: second texts of pairs.
            head: the directory of the head, if it is not that of the checkpoint.

        Returns:
            One result for each text; a single one for one text.

        Raises:
            FatalError: the head is missing, or does not fit the trunk.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        loaded = self._heads.load("lm-scoring", LanguageModelHead, self._heads.folder(head))
        inputs = self._read(texts, lang, pairs)
        found: list[TextScore] = []
        for chunk in self._run(
            inputs,
            lambda sequences, _: ScoreCollector(sequences, self.model, loaded),
            with_offsets=True,
        ):
            of_rows = [TextScore(*values) for values in zip(*(column.tolist() for column in chunk.result), strict=True)]
            found += [of_rows[i] for i in chunk.source]
        return found[0] if inputs.is_single else found

    @overload
    def generate(
        self,
        texts: str,
        lang: str,
        *,
        head: str | Path | None = ...,
        max_new_tokens: int = ...,
        sample: bool = ...,
        temperature: float = ...,
        top_k: int | None = ...,
        top_p: float = ...,
        seed: int = ...,
    ) -> str: ...
    @overload
    def generate(
        self,
        texts: Texts,
        lang: str | Texts,
        *,
        head: str | Path | None = ...,
        max_new_tokens: int = ...,
        sample: bool = ...,
        temperature: float = ...,
        top_k: int | None = ...,
        top_p: float = ...,
        seed: int = ...,
    ) -> list[str]: ...
    def generate(
        self,
        texts: str | Texts,
        lang: str | Texts,
        *,
        head: str | Path | None = None,
        max_new_tokens: int = 64,
        sample: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> str | list[str]:
        """Continue each text. The model must be causal.

        Args:
            texts: one text, or N texts.
            lang: one language code, or N of them, for a text and its continuation.
            head: the directory of the head, if it is not that of the checkpoint.
            max_new_tokens: maximum number of tokens to generate.
            sample: draw each token by its probability; by default the most likely token is taken.
            temperature, top_k, top_p: change the distribution before drawing.
            seed: the same seed gives the same continuation of the same text.

        Returns:
            The continuation of each text, without the text; a single string for one text.

        Raises:
            FatalError: the head is missing, does not fit the trunk, or the model is masked.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        loaded = self._heads.load("text-generation", LanguageModelHead, self._heads.folder(head))
        check_causal(self.model.trunk.config)
        sampling = Sampling(
            max_new_tokens=max_new_tokens,
            sample=sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        inputs = self._read(texts, lang)
        found: list[str] = []
        for chunk in self._run(
            inputs,
            lambda sequences, _: ContinuationCollector(sequences, self.model, loaded, sampling),
            max_new_tokens=max_new_tokens,
            merges_windows=False,
        ):
            found += [chunk.result[i] for i in chunk.source]
        return found[0] if inputs.is_single else found
