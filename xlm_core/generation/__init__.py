"""Text generation and scoring with a language model head."""

from xlm_core.generation.generate import GenerationSettings, generate
from xlm_core.generation.scoring import perplexity, score_causal, score_masked, sum_scores

__all__ = [
    "GenerationSettings",
    "generate",
    "perplexity",
    "score_causal",
    "score_masked",
    "sum_scores",
]
