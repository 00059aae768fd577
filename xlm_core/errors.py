"""Errors of the model library, named by what to do next."""


class FatalError(Exception):
    """The work cannot be done as asked: correct the input, the checkpoint or the setting, and start again.

    The message is one line for a person: what, where, got against expected, what to do.
    """


class CheckpointError(FatalError):
    """A checkpoint directory that is incomplete, unreadable, or does not hold the model it is asked for."""


class TokenizerError(FatalError):
    """A tokenizer that cannot be built: a vocabulary, a merge table or a segmenter is missing or unusable."""
