"""The tasks of texts: embed, classify, tag.

Letters: N texts, W windows, D dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from xlm_core.decoding import Aggregation, SchemeName
from xlm_core.errors import check_choice, check_positive
from xlm_core.heads import SequenceClassificationHead, TokenClassificationHead
from xlm_core.inference import (
    ClassificationCollector,
    EmbeddingCollector,
    PoolingName,
    Problem,
    TaggingCollector,
    check_classification,
    check_embedding,
    head_labels,
    rank_labels,
    read_label_scheme,
    trained_problem,
)
from xlm_core.xlm.results import Classification, Label, Span
from xlm_core.xlm.runner import Runner
from xlm_core.xlm.texts import are_words, join_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from xlm_core.xlm.texts import Texts

_Windows = Literal["mean", "each"]
_Aggregate = Literal["word", "entity"]


class TextTasks(Runner):
    """Adds the tasks of texts."""

    @overload
    def embed(
        self,
        texts: str | Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = None,
        pooling: PoolingName = "mean",
        layer: int | Sequence[int] = -1,
        truncate_dim: int | None = None,
        normalize: bool = True,
        windows: Literal["mean"] = "mean",
    ) -> NDArray[np.float32]: ...
    @overload
    def embed(
        self,
        texts: str | Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = None,
        pooling: PoolingName = "mean",
        layer: int | Sequence[int] = -1,
        truncate_dim: int | None = None,
        normalize: bool = True,
        windows: Literal["each"],
    ) -> list[NDArray[np.float32]]: ...
    def embed(
        self,
        texts: str | Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = None,
        pooling: PoolingName = "mean",
        layer: int | Sequence[int] = -1,
        truncate_dim: int | None = None,
        normalize: bool = True,
        windows: _Windows = "mean",
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Compute a vector for each text.

        Args:
            texts: one text, or N texts.
            lang: one language code, or N of them.
            pairs: second texts of pairs.
            pooling: how the vectors of tokens are combined.
            layer: the layer whose output is used, or a list of layers to average; 0 is the embeddings, -1 the last.
            truncate_dim: keep only the first dimensions of a vector, before it is normalized.
            normalize: scale each vector to length 1.
            windows: for texts with several windows, return the mean of their vectors, or each of them.

        Returns:
            float32 [N, D]; [D] for one text. With `windows="each"`, a list of N arrays [W, D].

        Raises:
            FatalError: the checkpoint does not have the layer, or so many dimensions.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        check_choice("pooling", pooling, PoolingName)
        check_choice("windows", windows, _Windows)
        if truncate_dim is not None:
            check_positive("truncate_dim", truncate_dim)
        layers = [layer] if isinstance(layer, int) else list(layer)
        if not layers:
            raise ValueError("layer: got an empty list, expected a layer, or a list of layers to average")
        each_window = windows == "each"
        dim = check_embedding(layers, truncate_dim, self.model.trunk.config)
        inputs = self._read(texts, lang, pairs)
        found: list[NDArray[np.float32]] = [np.empty((0, dim), np.float32)]
        of_windows: list[NDArray[np.float32]] = []
        for chunk in self._run(
            inputs,
            lambda sequences, _: EmbeddingCollector(
                sequences,
                pooling=pooling,
                layers=layers,
                dim=dim,
                normalize=normalize,
                each_window=each_window,
            ),
        ):
            if each_window:
                of_rows = np.split(chunk.result, chunk.sequences.row_offsets[1:-1])
                of_windows += [of_rows[i] for i in chunk.source]
            else:
                found.append(chunk.result[chunk.source])
        if each_window:
            return of_windows
        vectors = np.concatenate(found)
        return vectors[0] if inputs.is_single else vectors

    @overload
    def classify(
        self,
        texts: str,
        lang: str | None,
        *,
        pairs: str | Texts | None = ...,
        head: str | Path | None = ...,
        problem: Problem | None = ...,
        top_k: int = ...,
        threshold: float = ...,
    ) -> Classification: ...
    @overload
    def classify(
        self,
        texts: Texts,
        lang: str | Texts | None,
        *,
        pairs: str | Texts | None = ...,
        head: str | Path | None = ...,
        problem: Problem | None = ...,
        top_k: int = ...,
        threshold: float = ...,
    ) -> list[Classification]: ...
    def classify(
        self,
        texts: str | Texts,
        lang: str | Texts | None,
        *,
        pairs: str | Texts | None = None,
        head: str | Path | None = None,
        problem: Problem | None = None,
        top_k: int = 1,
        threshold: float = 0.5,
    ) -> Classification | list[Classification]:
        """Classify each text.

        Args:
            texts: one text, or N texts.
            lang: one language code, or N of them; None runs texts without a language, to identify theirs.
            pairs: second texts of pairs.
            head: the directory of the head, if it is not that of the checkpoint.
            problem: what the head was trained for; by default as in its config.json, else single-label.
            top_k: for a single-label head, the number of labels to return.
            threshold: for a multi-label head, the lowest score of a label that is returned.

        Returns:
            One result for each text; a single one for one text.

        Raises:
            FatalError: the head is missing, or does not fit the trunk or the problem.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        if problem is not None:
            check_choice("problem", problem, Problem)
        check_positive("top_k", top_k)
        loaded = self._heads.load("text-classification", SequenceClassificationHead, self._heads.folder(head))
        chosen: Problem = problem or trained_problem(loaded.config) or "single-label"
        check_classification(loaded.config, chosen)
        labels = head_labels(loaded.config)
        inputs = self._read(texts, lang, pairs)
        found: list[Classification] = []
        for chunk in self._run(inputs, lambda sequences, _: ClassificationCollector(sequences, loaded, chosen)):
            order = rank_labels(chunk.result, top_k if chosen == "single-label" else None)
            lowest = {"single-label": -np.inf, "multi-label": threshold, "regression": np.inf}[chosen]
            of_rows = [
                Classification(tuple(Label(labels[i], float(row[i])) for i in best if row[i] >= lowest), row)
                for row, best in zip(chunk.result, order.tolist(), strict=True)
            ]
            found += [of_rows[i] for i in chunk.source]
        return found[0] if inputs.is_single else found

    @overload
    def tag(
        self,
        texts: str,
        lang: str,
        *,
        pairs: str | Texts | None = ...,
        head: str | Path | None = ...,
        aggregate: _Aggregate = ...,
        pieces: Aggregation = ...,
        scheme: SchemeName = ...,
    ) -> list[Span]: ...
    @overload
    def tag(
        self,
        texts: Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = ...,
        head: str | Path | None = ...,
        aggregate: _Aggregate = ...,
        pieces: Aggregation = ...,
        scheme: SchemeName = ...,
    ) -> list[list[Span]]: ...
    def tag(
        self,
        texts: str | Texts,
        lang: str | Texts,
        *,
        pairs: str | Texts | None = None,
        head: str | Path | None = None,
        aggregate: _Aggregate = "word",
        pieces: Aggregation = "first",
        scheme: SchemeName = "auto",
    ) -> list[Span] | list[list[Span]]:
        """Label the words or entities of each text; of a pair, those of the first text.

        Args:
            texts: one text, or N texts, or N lists of words.
            lang: one language code, or N of them.
            pairs: second texts of pairs.
            head: the directory of the head, if it is not that of the checkpoint.
            aggregate: what is labelled: each word, or entities of one or more words.
            pieces: how a word of several subwords gets its label.
            scheme: how labels mark entities; "auto" recognizes it by the labels.

        Returns:
            A list of spans for each text; a single list for one text. A list of words gets an item for each word.

        Raises:
            FatalError: the head is missing, or does not fit the trunk or the scheme.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        check_choice("aggregate", aggregate, _Aggregate)
        check_choice("pieces", pieces, Aggregation)
        check_choice("scheme", scheme, SchemeName)
        loaded = self._heads.load("token-classification", TokenClassificationHead, self._heads.folder(head))
        labels_scheme = read_label_scheme(loaded.config, scheme)
        inputs = self._read(texts, lang, pairs)
        keep_given_words = aggregate == "word" and are_words([row[0][0] for row in inputs.texts])
        found: list[list[Span]] = []
        for chunk in self._run(
            inputs,
            lambda sequences, texts: TaggingCollector(
                sequences,
                loaded,
                [row[0][0] for row in texts],
                pieces=pieces,
                scheme=labels_scheme if aggregate == "entity" else None,
                keep_given_words=keep_given_words,
            ),
            with_offsets=True,
        ):
            joined = [join_words(row[0][0]) for row in chunk.texts]
            of_rows: list[list[Span]] = [[] for _ in joined]
            for row, start, end, label, score in zip(*(column.tolist() for column in chunk.result), strict=True):
                span = Span(label, None if label is None else score, start, end, joined[row][start:end])
                of_rows[row].append(span)
            found += [of_rows[i] for i in chunk.source]
        return found[0] if inputs.is_single else found
