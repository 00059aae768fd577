"""Which combining marks belong to the character before them."""

import unicodedata


def is_attached(text: str, i: int) -> bool:
    """Return whether the character at `i` is a mark of the one before it."""
    is_mark = 0 < i < len(text) and unicodedata.category(text[i])[0] == "M"
    return is_mark and unicodedata.category(text[i - 1])[0] not in "CZ"
