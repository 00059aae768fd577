"""Learn vocabulary and merges from a corpus."""

from pipelines.train.vocabulary.learn import learn_vocabulary, plan_texts

__all__ = ["learn_vocabulary", "plan_texts"]
