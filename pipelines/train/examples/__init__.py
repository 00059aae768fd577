"""Examples: rows of a corpus, encoded once for all steps of a training."""

from pipelines.train.examples.encode import EncodedShard, EncodeSettings
from pipelines.train.examples.encode_corpora import ExampleCorpus, encode_corpora
from pipelines.train.examples.labels import find_problem
from pipelines.train.examples.load import find_labels, find_langs, read_example_files, to_examples

__all__ = [
    "EncodeSettings",
    "EncodedShard",
    "ExampleCorpus",
    "encode_corpora",
    "find_labels",
    "find_langs",
    "find_problem",
    "read_example_files",
    "to_examples",
]
