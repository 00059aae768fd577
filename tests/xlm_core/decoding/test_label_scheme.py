"""Label schemes are recognized by the whole set of labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlm_core import FatalError
from xlm_core.decoding import group_entities, parse_label_scheme

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def tags(prefixes, *types, join="-"):
    return [f"{prefix}{join}{kind}" for kind in types for prefix in prefixes]


@pytest.mark.parametrize(
    ("labels", "description"),
    [
        (BIO, "BIO: 2 entity types"),
        (BIO[1:], "BIO: 2 entity types"),
        ([*BIO, "[CLS]", "[SEP]"], "BIO: 2 entity types; ignored: [CLS], [SEP]"),
        ([*BIO, "X"], "BIO: 2 entity types; ignored: X"),
        (["<PAD>", *BIO, "<START>", "<STOP>"], "BIO: 2 entity types; ignored: <PAD>, <START>, <STOP>"),
        ([*BIO, ""], "BIO: 2 entity types; ignored: ''"),
        (["o", *tags("bi", "per", "loc")], "BIO: 2 entity types"),
        (["O", *tags("BI", "PER", "LOC", join="_")], "BIO: 2 entity types"),
        (["O", "I-PER", "I-LOC"], "BIO: 2 entity types"),
        (["O", *tags("BIES", "PER")], "BIOES: 1 entity type"),
        (["O", *tags("BILU", "PER")], "BILOU: 1 entity type"),
        (["O", *tags("BMES", "NAME", "ORG")], "BMES: 2 entity types"),
        ([*tags("BMES", "NR"), "[PAD]"], "BMES: 1 entity type; ignored: [PAD]"),
        (["O", *tags("BMEW", "NAME")], "BMEWO: 1 entity type"),
        (["B", "M", "E", "S"], "BMES: 1 entity type"),
        (["B", "I", "O"], "BIO: 1 entity type"),
        (["NOUN", "VERB", "X"], "plain: 3 entity types"),  # X is a part of speech
        (["NOUN", "VERB", "[PAD]"], "plain: 2 entity types; ignored: [PAD]"),
        (["O", "A-side", "B-side"], "plain: 2 entity types"),
        (["O", "S-size", "M-size", "L-size"], "plain: 3 entity types"),
        (["B", "E", "N", "V"], "plain: 4 entity types"),
        (["LABEL_0", "LABEL_1"], "plain: 2 entity types"),
        (["d_obj", "i_obj", "subj"], "plain: 3 entity types"),
        ([], "plain: 0 entity types"),
    ],
)
def test_clear_sets_are_recognized(labels, description):
    scheme = parse_label_scheme(labels)
    assert scheme.describe() == description
    assert scheme.doubts == ()


@pytest.mark.parametrize(
    ("labels", "name", "doubts"),
    [
        ([*BIO, "MISC"], "BIO", "labels without a prefix are read as types of their own: MISC"),
        ([*BIO, "S-PER", "U-LOC"], "mixed", "their prefixes B, I, S, U are of different schemes"),
        (["O", "I-PER", "I-LOC", "MISC"], "plain", "only some labels look like tags: I-PER, I-LOC"),
        *(
            (["O", *tags], "plain", f"labels look like tags in another form than B-PER: {', '.join(tags)}")
            for tags in (["PER-B", "PER-I"], ["LOC_B", "LOC_I"], ["B:PER", "I:PER"], ["B\u2013PER", "I\u2013PER"])
        ),
    ],
)
def test_unclear_sets_are_read_with_doubts(labels, name, doubts):
    scheme = parse_label_scheme(labels)
    assert (scheme.name, *scheme.doubts) == (name, doubts)


@pytest.mark.parametrize(
    ("labels", "scheme", "wrong"),
    [
        ([*BIO, "E-PER", "S-PER"], "bio", "expected O and labels that begin with B, I, got E-PER, S-PER"),
        (BIO, "bmes", "expected O and labels that begin with B, E, M, S, got I-PER, I-LOC"),
        ([*BIO, "MISC"], "bioes", "got MISC"),
        (["LABEL_0", "LABEL_1"], "bio", "got LABEL_0, LABEL_1"),
    ],
)
def test_a_scheme_that_does_not_fit_is_an_error_that_names_the_labels(labels, scheme, wrong):
    with pytest.raises(FatalError, match=f"scheme {scheme}: .*{wrong}; set another scheme or auto"):
        parse_label_scheme(labels, scheme)


def test_the_scheme_can_be_given():
    assert group_entities(["B-side", "B-side"], ["O", "A-side", "B-side"]) == [("B-side", 0, 2)]
    assert group_entities(["B-side", "I-side"], ["O", "I-side", "B-side"], "plain") == [
        ("B-side", 0, 1),
        ("I-side", 1, 2),
    ]
    assert group_entities(["i_PER", "i_PER"], ["O", "i_PER", "i_LOC"], "bio") == [("PER", 0, 2)]


def test_chinese_words_and_names():
    assert group_entities(["B", "M", "E", "S", "B", "E"], ["B", "M", "E", "S"]) == [
        ("_", 0, 3),
        ("_", 3, 4),
        ("_", 4, 6),
    ]
    labels = ["O", *tags("BMES", "NAME"), "[CLS]"]
    words = ["[CLS]", "B-NAME", "M-NAME", "E-NAME", "S-NAME", "O", "B-NAME", "[CLS]", "E-NAME"]
    assert group_entities(words, labels) == [("NAME", 1, 4), ("NAME", 4, 5), ("NAME", 6, 7), ("NAME", 8, 9)]


@given(
    st.sampled_from(["BI", "BIES", "BILU", "BMES", "BMEW"]),
    st.lists(st.sampled_from(["PER", "LOC", "ORG-x", "a_b"]), unique=True, min_size=1),
    st.lists(st.sampled_from(["O", "[CLS]", "X", "<pad>", "PAD", "_"]), unique=True),
    st.booleans(),
    st.randoms(),
)
def test_markers_case_and_order_do_not_change_the_entities(prefixes, types, markers, lower, random):
    labels = tags(prefixes.lower() if lower else prefixes, *types) + markers
    random.shuffle(labels)
    words = [random.choice(labels) for _ in range(20)]
    plain = [word if word not in markers else "O" for word in words]
    expected = group_entities([word[0].upper() + word[1:] for word in plain], ["O", *tags(prefixes, *types)])
    assert group_entities(words, labels) == expected
