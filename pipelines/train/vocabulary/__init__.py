"""Learn vocabulary and merges from a corpus."""

from pipelines.train.vocabulary.learn import learn_vocabulary

__all__ = ["learn_vocabulary"]
