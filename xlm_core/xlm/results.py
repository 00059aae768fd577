"""What the methods of `XLM` return for each text. Scores are probabilities, from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a text, and its score."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The labels of a text.

    Attributes:
        labels: best first: the best `top_k` of a single-label head, and all with a score of at least `threshold` of a
            multi-label head, perhaps none. Empty for a regression.
        scores: float32 [C], the scores of all labels in the order of the head; of a regression, its values.
    """

    labels: tuple[Label, ...]
    scores: NDArray[np.float32]

    @property
    def label(self) -> str | None:
        """The best label; None if there is none."""
        return self.labels[0].label if self.labels else None

    @property
    def score(self) -> float | None:
        """The score of the best label; None if there is none."""
        return self.labels[0].score if self.labels else None


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled word or entity.

    Attributes:
        label: None for a word that was given, and has no tokens or was cut off.
        score: None without a label.
        start, end: characters of the text, end exclusive; for a list of words, of the words joined by spaces.
        text: the text from `start` to `end`.
    """

    label: str | None
    score: float | None
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of the context that answers the question.

    Attributes:
        text: the context from `start` to `end`.
        score: the probability of its start times that of its end.
        start, end: characters of the context, end exclusive.
    """

    text: str
    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to a question.

    Attributes:
        answers: best first; none if the context has no characters to answer with.
        no_answer_score: the score that the context has no answer.
    """

    answers: tuple[Answer, ...]
    no_answer_score: float

    @property
    def best(self) -> Answer | None:
        """The best answer; None if there is none."""
        return self.answers[0] if self.answers else None


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The choice of a row.

    Attributes:
        choice: the index of the best choice, from 0.
        scores: float32 [choices], their probabilities.
    """

    choice: int
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fill:
    """A token for a mask, and its probability."""

    token: str
    score: float


@dataclass(frozen=True, slots=True)
class TextScore:
    """The likelihood of a text under the language model.

    Attributes:
        num_tokens: the tokens that are scored: the text's own.
        log_likelihood: sum of the natural logarithms of their probabilities.
        perplexity: exp(-log_likelihood / num_tokens).
    """

    num_tokens: int
    log_likelihood: float
    perplexity: float
