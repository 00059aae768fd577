"""The tasks of pairs of texts: answer, choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

from xlm_core.heads import MultipleChoiceHead, QuestionAnsweringHead, QuestionAnsweringSimpleHead
from xlm_core.inference import ChoiceCollector, answer_collector, answering_kind, check_answering
from xlm_core.xlm.results import Answer, Answers, Choice
from xlm_core.xlm.runner import Runner
from xlm_core.xlm.texts import Inputs, join_words, read_texts

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.xlm.texts import Text, Texts


class PairTasks(Runner):
    """Adds the tasks of pairs of texts."""

    @overload
    def answer(
        self,
        questions: str,
        contexts: str,
        lang: str,
        *,
        head: str | Path | None = ...,
        top_k: int = ...,
        max_answer_tokens: int = ...,
    ) -> Answers: ...
    @overload
    def answer(
        self,
        questions: Texts,
        contexts: Texts,
        lang: str | Texts,
        *,
        head: str | Path | None = ...,
        top_k: int = ...,
        max_answer_tokens: int = ...,
    ) -> list[Answers]: ...
    def answer(
        self,
        questions: str | Texts,
        contexts: str | Texts,
        lang: str | Texts,
        *,
        head: str | Path | None = None,
        top_k: int = 1,
        max_answer_tokens: int = 30,
    ) -> Answers | list[Answers]:
        """Answer each question from its context.

        Args:
            questions: one question, or N questions.
            contexts: the same number of contexts.
            lang: one language code, or N of them.
            head: the directory of the head, if it is not that of the checkpoint.
            top_k: maximum number of answers for each question.
            max_answer_tokens: maximum number of tokens in an answer.

        Returns:
            One result for each question; a single one for one question.

        Raises:
            FatalError: the head is missing, or does not fit the trunk.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        folder = self._heads.folder(head)
        kind = answering_kind(folder)
        head_class = QuestionAnsweringHead if kind == "question-answering" else QuestionAnsweringSimpleHead
        loaded = self._heads.load("question-answering", head_class, folder)
        check_answering(kind, loaded.config)
        inputs = self._read(questions, lang, contexts, "questions contexts")
        found: list[Answers] = []
        for chunk in self._run(
            inputs,
            lambda sequences, texts: answer_collector(
                sequences,
                loaded,
                [row[0][1] for row in texts],
                cls_token_id=self.tokenizer.cls_token_id,
                top_k=top_k,
                max_answer_tokens=max_answer_tokens,
            ),
            with_offsets=True,
        ):
            joined = [join_words(row[0][1]) for row in chunk.texts]
            answers: list[list[Answer]] = [[] for _ in joined]
            *columns, no_answer = chunk.result
            for row, start, end, score in zip(*(column.tolist() for column in columns), strict=True):
                answers[row].append(Answer(joined[row][start:end], score, start, end))
            found += [Answers(tuple(answers[i]), float(no_answer[i])) for i in chunk.source]
        return found[0] if inputs.is_single else found

    @overload
    def choose(self, premises: str, choices: Texts, lang: str, *, head: str | Path | None = ...) -> Choice: ...
    @overload
    def choose(
        self, premises: Texts, choices: Texts, lang: str | Texts, *, head: str | Path | None = ...
    ) -> list[Choice]: ...
    def choose(
        self, premises: str | Texts, choices: Texts, lang: str | Texts, *, head: str | Path | None = None
    ) -> Choice | list[Choice]:
        """Select one of the choices of each premise.

        Args:
            premises: one premise, or N premises.
            choices: a list of choices; for N premises, N lists of any lengths.
            lang: one language code, or N of them.
            head: the directory of the head, if it is not that of the checkpoint.

        Returns:
            One result for each premise; a single one for one premise.

        Raises:
            FatalError: the head is missing, or does not fit the trunk.
            TypeError, ValueError, InferenceError: see `XLM`.
        """
        if isinstance(choices, str):  # its characters would be taken for choices
            raise TypeError("choices: got a string, expected a list of choices")
        loaded = self._heads.load("multiple-choice", MultipleChoiceHead, self._heads.folder(head))
        found_premises, is_single = read_texts("premises", premises), isinstance(premises, str)
        lists = read_texts("choices", [list(choices)] if is_single else choices)
        if len(lists) != len(found_premises):
            raise ValueError(f"choices: got {len(lists)} lists, expected {len(found_premises)}, one for each premise")
        texts: list[list[tuple[Text, ...]]] = []
        for i, (premise, items) in enumerate(zip(found_premises, lists, strict=True)):
            if isinstance(items, str):
                raise TypeError(f"choices: got a string at position {i}, expected a list of choices")
            texts.append([(premise, choice) for choice in read_texts(f"choices[{i}]", items)])
        inputs = Inputs(texts, self._read_langs(lang, len(texts)), is_single)
        found: list[Choice] = []
        for chunk in self._run(inputs, lambda sequences, _: ChoiceCollector(sequences, loaded), merges_windows=False):
            best, scores = chunk.result
            of_rows = np.split(scores, chunk.sequences.row_offsets[1:-1])
            found += [Choice(int(best[i]), of_rows[i]) for i in chunk.source]
        return found[0] if is_single else found
