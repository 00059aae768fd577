"""Learn vocabulary and merges from the words of texts."""

from xlm_core.vocabulary.learn import count_chars, count_tokens, learn_tokenizer, weigh_langs
from xlm_core.vocabulary.merges import learn_merges
from xlm_core.vocabulary.word_counter import WordCounter

__all__ = ["WordCounter", "count_chars", "count_tokens", "learn_merges", "learn_tokenizer", "weigh_langs"]
