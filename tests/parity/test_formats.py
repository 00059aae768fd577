"""Checkpoints in every published format give the same numbers and the same tokenizer."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import xlm_core
from tests.fixtures.original_release import content_of, original_mark, save_original
from tests.parity.reference_model import HIDDEN, LOGITS, reference, sequences
from xlm_core import XLMModel, XLMTokenizer, XLMWithLMHeadModel

pytestmark = pytest.mark.usefixtures("no_gradients")

TENSORFLOW = Path(__file__).parents[1] / "fixtures" / "tensorflow"


def save_safetensors(model, directory):
    model.save_pretrained(directory)


def save_sharded_safetensors(model, directory):
    model.save_pretrained(directory, max_shard_size="20KB")
    assert len([*directory.glob("model-*-of-*.safetensors")]) > 3


def save_bin(model, directory, legacy=False, rename=lambda name: name):
    model.config.save_pretrained(directory)
    state = {rename(name): tensor for name, tensor in model.state_dict().items()}
    torch.save(state, directory / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)


def save_old_bin(model, directory):
    save_bin(model, directory, legacy=True)


def save_old_norm_names(model, directory):
    def rename(name):
        is_norm = "layer_norm" in name
        return name.replace(".weight", ".gamma").replace(".bias", ".beta") if is_norm else name

    save_bin(model, directory, rename=rename)


def save_sharded_bin(model, directory):
    model.config.save_pretrained(directory)
    state = model.state_dict()
    files = [f"pytorch_model-{i + 1:05}-of-00003.bin" for i in range(3)]
    weight_map = {name: files[i % 3] for i, name in enumerate(state)}
    for file in files:
        torch.save({name: state[name] for name in state if weight_map[name] == file}, directory / file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def save_pth(model, directory):
    save_original(content_of(model), directory)


def save_old_pth(model, directory):
    save_original(content_of(model, module="module."), directory, legacy=True)


FORMATS = [
    save_safetensors,
    save_sharded_safetensors,
    save_bin,
    save_old_bin,
    save_sharded_bin,
    save_old_norm_names,
    save_pth,
    save_old_pth,
]


@pytest.mark.parametrize("save", FORMATS, ids=lambda save: save.__name__.removeprefix("save_"))
def test_every_format_gives_the_numbers_of_the_reference(tmp_path, parity, save):
    case = save.__name__.removeprefix("save_").replace("_", " ")
    trunk, language_model = reference(transformers.XLMModel), reference(transformers.XLMWithLMHeadModel)
    save(trunk, tmp_path / "trunk")
    save(language_model, tmp_path / "language_model")
    our_trunk = XLMModel.from_pretrained(tmp_path / "trunk")
    our_language_model = XLMWithLMHeadModel.from_pretrained(tmp_path / "language_model")
    for ids, langs in sequences():
        ours, theirs = our_trunk(ids, langs=langs), trunk(ids, langs=langs)
        parity("formats, hidden states", case, ours.last_hidden_state, theirs.last_hidden_state, HIDDEN)
        ours, theirs = our_language_model(ids, langs=langs), language_model(ids, langs=langs)
        parity("formats, language model logits", case, ours.logits, theirs.logits, LOGITS)


@pytest.mark.parametrize("directory", sorted(TENSORFLOW.iterdir()), ids=lambda directory: directory.name)
def test_tensorflow_checkpoints_give_the_outputs_of_tensorflow(parity, directory):
    stored = np.load(directory / "outputs.npz")
    name = directory.name.partition("-")[0].removeprefix("TF")
    model = getattr(xlm_core, name).from_pretrained(directory)
    outputs = model(torch.from_numpy(stored["input_ids"]).long(), langs=torch.from_numpy(stored["langs"]).long())
    compared = stored.keys() - {"input_ids", "langs"}
    assert compared
    for output in compared:
        limit = HIDDEN if output == "last_hidden_state" else LOGITS
        format_name = "safetensors" if directory.name.endswith("-safetensors") else "h5"
        parity(f"TensorFlow {format_name}, {output}", name, outputs[output], torch.from_numpy(stored[output]), limit)


def test_the_vocabulary_of_an_original_release_gives_the_ids_of_its_standard_form(tmp_path, parity, checkpoint, corpus):
    vocab = json.loads((checkpoint / "vocab.json").read_text(encoding="utf-8"))
    words = [token if i < 14 else original_mark(token) for token, i in vocab.items()]
    config = json.loads((checkpoint / "config.json").read_text())
    model = reference(transformers.XLMModel, vocab_size=len(words), n_langs=config["n_langs"])
    codes = (checkpoint / "merges.txt").read_text(encoding="utf-8")
    langs = {"lang2id": config["lang2id"], "id2lang": {i: lang for lang, i in config["lang2id"].items()}}
    save_original(content_of(model, words=words, **langs), tmp_path, codes=codes)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lowercase_and_remove_accent": true}')
    original, standard = (XLMTokenizer.from_pretrained(d, ja="fugashi") for d in (tmp_path, checkpoint))
    assert original.lang2id == standard.lang2id
    texts, codes_of_texts = [row["text"] for row in corpus], [row["lang"] for row in corpus]
    ours = original.encode_batch(texts, codes_of_texts)
    theirs = standard.encode_batch(texts, codes_of_texts)
    assert len(ours.input_ids) > 5_000
    parity.exact("original vocabulary, ids", "demo corpus", ours.input_ids, theirs.input_ids)
    parity.exact("original vocabulary, offsets", "demo corpus", ours.offsets, theirs.offsets)


def test_the_reference_loads_a_saved_checkpoint_with_its_tied_embeddings(tmp_path, parity):
    theirs = reference(transformers.XLMWithLMHeadModel)
    save_old_pth(theirs, tmp_path / "original")
    XLMWithLMHeadModel.from_pretrained(tmp_path / "original").save_pretrained(tmp_path / "saved")
    loaded = transformers.XLMWithLMHeadModel.from_pretrained(tmp_path / "saved").eval()
    assert loaded.pred_layer.proj.weight is loaded.transformer.embeddings.weight
    for ids, langs in sequences():
        logits = [model(ids, langs=langs).logits for model in (loaded, theirs)]
        parity("the reference on what was saved", "from an original release", *logits, 0.0)
