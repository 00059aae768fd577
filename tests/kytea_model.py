"""A small KyTea model that segments Japanese by the types of its characters: 東京へ|行く|。

It has KyTea's text format, so tests can use the real library without downloading a model.
"""

from pathlib import Path

# The scores that a character adds to the boundary before it and to the one after it, by KyTea's character types: kanji,
# katakana, hiragana, Latin letter, digit, other. KyTea splits where the sum of both, minus one, is above zero.
_WEIGHTS = {"K": (2, -1), "T": (2, -3), "H": (0, 1), "R": (2, -3), "D": (2, -1), "O": (3, 3)}

_HEADER = """\
KyTea 0.4.0 T utf8
-notags
-numtags 0
-charw 1
-charn 1
-typew 1
-typen 1
-dicn 1
-eps 0.1
-solver 1

characters
KTHRDO

solver_type L2R_L2LOSS_SVC_DUAL
nr_class 2
label 1 -1
nr_feature 0
bias -1
mult 1
w

lookup"""
_NONE = "0\n0"  # no dictionary
_EMPTY = "0\n1\n0\n\nn\n0"  # an empty dictionary, which segmentation needs
_BIAS = "\n-1\n\n"  # between the weights of words and those of tags; the model has no tags


def write_kytea_model(path: Path) -> Path:
    """Write the model and return its path."""
    # an automaton that matches one type: the root, one state per type, and the scores of each type
    root = "0 " + " ".join(f"{kind} {state}" for state, kind in enumerate(_WEIGHTS, 1)) + "\n\nn"
    states = [f"0\n{entry}\nb" for entry in range(len(_WEIGHTS))]
    weights = [f"{before} {after}" for before, after in _WEIGHTS.values()]
    types = ["0", str(1 + len(states)), root, *states, str(len(weights)), *weights]
    path.write_text("\n".join([_HEADER, _NONE, *types, _NONE, _BIAS, _EMPTY, _NONE, ""]), encoding="utf-8")
    return path
