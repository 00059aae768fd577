"""The padded interface of every model class: the reference's arguments, outputs and saved files."""

import pytest
import torch
import transformers

import xlm_core
from tests.parity.reference_model import HIDDEN, LENGTHS, LOGITS, MAX_POSITIONS, padded, reference, save, sequences

pytestmark = pytest.mark.usefixtures("no_gradients")

# the labels of each class for eight sequences
CLASSES = {
    "XLMModel": {},
    "XLMWithLMHeadModel": {"labels": torch.randint(0, 60, (8, 24))},
    "XLMForSequenceClassification": {"labels": torch.tensor([0, 1, 0, 1, 1, 0, 0, 1])},
    "XLMForTokenClassification": {"labels": torch.randint(0, 2, (8, 24))},
    "XLMForQuestionAnsweringSimple": {
        "start_positions": torch.tensor([0, 0, 3, 4, 2, 7, 20, 0]),
        "end_positions": torch.tensor([4, 0, 3, 5, 2, 9, 22, 0]),
    },
    "XLMForQuestionAnswering": {
        "start_positions": torch.tensor([0, 0, 3, 4, 2, 7, 20, 0]),
        "end_positions": torch.tensor([4, 0, 3, 5, 2, 9, 22, 0]),
    },
    "XLMForMultipleChoice": {"labels": torch.tensor([1, 0, 1, 1])},  # four questions with two choices
}


def build(name, directory, **changes):
    theirs = reference(getattr(transformers, name), **changes)
    return getattr(xlm_core, name).from_pretrained(save(theirs, directory, "safetensors")), theirs


def with_choices(name, arguments):
    """Reshape the arguments of multiple choice to [questions, choices, …]."""
    if name != "XLMForMultipleChoice":
        return arguments
    return {
        key: value.unflatten(0, (4, 2)) if isinstance(value, torch.Tensor) and value.shape[0] == 8 else value
        for key, value in arguments.items()
    }


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_outputs_have_the_names_and_order_of_the_reference(tmp_path, parity, name, labelled):
    ours, theirs = build(name, tmp_path)
    ids, langs, _ = padded(sequences([24] * 8))  # without pads, all values of the reference are correct
    arguments = with_choices(
        name, {"input_ids": ids, "langs": langs, "output_hidden_states": True, "output_attentions": True}
    ) | (CLASSES[name] if labelled else {})
    got, expected = ours(**arguments), theirs(**arguments)
    assert list(got.keys()) == list(expected.keys())
    as_tuples = ours(**arguments, return_dict=False), theirs(**arguments, return_dict=False)
    assert isinstance(as_tuples[0], tuple)
    assert len(as_tuples[0]) == len(as_tuples[1]) == len(got) == len(got.to_tuple())
    for index, key in enumerate(got):
        limit = HIDDEN if key in ("last_hidden_state", "hidden_states", "attentions") else LOGITS
        parity(f"{name}, {key}", "outputs", got[key], expected[key], limit)
        for other in (got[index], getattr(got, key), as_tuples[0][index]):
            parity(f"{name}, {key}", "outputs", other, got[key], 0.0)
        parity(f"{name}, {key}", "outputs", as_tuples[0][index], as_tuples[1][index], limit)
    assert "pooler_output" not in got
    assert got[:1] == got.to_tuple()[:1]
    with pytest.raises(KeyError):
        got["pooler_output"]
    with pytest.raises(AttributeError):
        got.loss = None


@pytest.mark.parametrize("name", CLASSES)
def test_configuration_selects_the_returned_fields(tmp_path, name):
    changes = {"output_hidden_states": True, "output_attentions": True}
    ours, theirs = build(name, tmp_path, **changes)
    ids, langs, _ = padded(sequences([24] * 8))
    arguments = with_choices(name, {"input_ids": ids, "langs": langs})
    assert {"hidden_states", "attentions"} <= ours(**arguments).keys()
    assert list(ours(**arguments).keys()) == list(theirs(**arguments).keys())
    off = {"output_hidden_states": False, "output_attentions": False}
    assert not {"hidden_states", "attentions"} & ours(**arguments, **off).keys()
    ours, theirs = build(name, tmp_path, return_dict=False)
    assert isinstance(ours(**arguments), tuple)
    assert isinstance(theirs(**arguments), tuple)
    assert not isinstance(ours(**arguments, return_dict=True), tuple)


@pytest.mark.parametrize("name", CLASSES)
def test_every_argument_equals_the_reference(tmp_path, parity, name):
    """Summaries are `first`, which ignores pads; beams are compared for batches without pads."""
    ours, theirs = build(name, tmp_path)
    with_pads = name != "XLMForQuestionAnswering"
    lengths = LENGTHS if with_pads else [24] * 8
    ids, langs, mask = padded(sequences(lengths))
    positions = torch.randint(0, MAX_POSITIONS, ids.shape)
    types, vectors = torch.randint(0, 3, ids.shape), torch.randn(*ids.shape, 32)
    every = torch.tensor(lengths)
    for arguments in (
        {"input_ids": ids, "langs": langs, "position_ids": positions},
        {"input_ids": ids, "langs": langs, "token_type_ids": types, "attention_mask": mask},
        {"input_ids": ids, "inputs_embeds": vectors},
        {"inputs_embeds": vectors, "langs": langs},
        {"inputs_embeds": vectors, "attention_mask": mask, "token_type_ids": types},
        {"inputs_embeds": vectors, "lengths": every},
        {"input_ids": ids, "langs": langs, "lengths": every},
    ):
        if name == "XLMForMultipleChoice" and "lengths" in arguments:
            continue  # the reference ignores lengths
        arguments = with_choices(name, arguments)
        got, expected = ours(**arguments), theirs(**arguments)
        for key in got:
            if "index" in key:
                parity.exact(f"{name}, {key}", "every argument", got[key], expected[key])
            else:
                limit = HIDDEN if key == "last_hidden_state" else LOGITS
                parity(f"{name}, {key}", "every argument", got[key], expected[key], limit)
    only_mask = with_choices(name, {"ids": ids, "mask": mask})
    first = ours(only_mask["ids"], only_mask["mask"])[0]
    assert torch.equal(first, ours(input_ids=only_mask["ids"], attention_mask=only_mask["mask"])[0])


@pytest.mark.parametrize("name", CLASSES)
def test_unknown_arguments_raise_an_error(tmp_path, name):
    ours, _ = build(name, tmp_path)
    ids = with_choices(name, {"ids": torch.full((8, 3), 5)})["ids"]
    for arguments in ({"cache": {}}, {"head_mask": None}):
        name_of = next(iter(arguments))
        with pytest.raises(TypeError, match=f"{name_of}: not an argument of XLM, expected one of input_ids, att"):
            ours(ids, **arguments)
    with pytest.raises(TypeError):
        ours(ids, None, None)  # langs is a keyword
    with pytest.raises(ValueError, match="inputs_embeds"):
        ours()


@pytest.mark.parametrize("name", CLASSES)
def test_reference_loads_saved_models(tmp_path, parity, name):
    changes = {"causal": True, "lang2id": {"en": 0, "de": 2}} | (
        {} if "Answering" in name else {"num_labels": 3, "asm_cutoffs": [10, 30]}
    )
    (tmp_path / "theirs").mkdir()
    ours, theirs = build(name, tmp_path / "theirs", **changes)
    ours.save_pretrained(tmp_path / "ours")
    again, report = getattr(transformers, name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    assert again.state_dict().keys() == theirs.state_dict().keys()
    parity.exact("saved, and loaded by the reference", name, again.state_dict(), theirs.state_dict())
    for field in ("causal", "id2label", "lang2id", "n_langs", "pad_token_id", "n_words", "summary_type"):
        assert getattr(again.config, field) == getattr(theirs.config, field)
    ids, langs, _ = padded(sequences([9] * 8))
    arguments = with_choices(name, {"input_ids": ids, "langs": langs})
    assert torch.equal(again(**arguments)[0], theirs(**arguments)[0])
