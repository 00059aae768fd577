"""`xlm inspect` describes checkpoints of all formats, also incomplete ones."""

import io
import json
from pathlib import Path

import pytest
import torch
import transformers
from rich.console import Console

from jobs.cli import main
from jobs.commands.checkpoint.inspect import inspect
from tests.fixtures.original_release import content_of, save_original
from tests.parity.reference_model import reference
from xlm_core import XLMConfig, content_hash
from xlm_core.heads import TokenClassificationHead

TENSORFLOW = Path(__file__).parents[1] / "fixtures" / "tensorflow"


def inspected(directory) -> dict[str, str]:
    """Return the rows of the printed table by their first column."""
    out = io.StringIO()
    inspect(directory, Console(file=out, width=200), str(directory))
    lines: dict[str, str] = {}
    name = ""
    for line in out.getvalue().splitlines():
        name = line[:14].strip() or name
        lines[name] = f"{lines.get(name, '')}\n{line[14:].strip()}".strip()
    return lines


def test_original_release_is_described(tmp_path):
    model = reference(transformers.XLMWithLMHeadModel, gelu_activation=False)
    save_original(content_of(model), tmp_path)
    lines = inspected(tmp_path)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())  # counts tied parameters once
    assert lines["model"] == "2 layers, width 32, 4 attention heads, ReLU"
    assert lines["positions"] == "24, learned"
    assert lines["objective"].startswith("masked")
    assert lines["parameters"].startswith(f"{num_parameters:,} in ")
    assert lines["weights"].startswith("original release (.pth), float32, ")
    assert lines["heads"] == "language-modeling"
    assert lines["languages"] == "3: de, en, zh"
    assert lines["tokenizer"].startswith("not usable: ")
    assert "does not record whether its training texts were lower-cased" in lines["tokenizer"]
    assert lines["content hash"] == content_hash(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lowercase_and_remove_accent": true}')
    assert inspected(tmp_path)["tokenizer"] == "60 tokens, 3 merges, lower-cased, without accents"


def test_sharded_causal_float16_checkpoint_is_described(tmp_path):
    model = reference(transformers.XLMModel, causal=True, sinusoidal_embeddings=True, n_langs=1).half()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    lines = inspected(tmp_path)
    assert lines["weights"].startswith("safetensors in ")
    assert " shards, float16, " in lines["weights"]
    assert lines["objective"].startswith("causal")
    assert lines["positions"] == "24, sinusoidal"
    assert (lines["heads"], lines["tokenizer"]) == ("none", "none")
    assert lines["languages"] == "1; the model has no language embeddings"


def test_tensorflow_checkpoint_and_head_without_trunk_are_described(tmp_path):
    lines = inspected(TENSORFLOW / "TFXLMForTokenClassification")
    assert lines["weights"].startswith("TensorFlow (.h5), float32, ")
    assert (
        lines["heads"]
        == "token-classification: 3 labels: LABEL_0, LABEL_1, LABEL_2\n(labels read as plain: 3 entity types)"
    )
    labels = {"0": "sport", "1": "[red]news\n"}
    config = XLMConfig.from_dict({"emb_dim": 32, "id2label": labels, "trained_langs": ["de", "th"]})
    TokenClassificationHead(config).save_pretrained(tmp_path)
    heads = inspected(tmp_path)["heads"]
    assert "[red]news" in heads
    assert "(trained on texts in de, th)" in heads
    assert "no trunk: needs the trunk of another checkpoint" in heads


def test_tokenizer_of_another_model_is_reported(checkpoint, tmp_path):
    assert inspected(checkpoint)["tokenizer"].startswith("2,8")
    reference(transformers.XLMModel).save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    description = inspected(tmp_path)["tokenizer"].replace("\n", " ")
    assert "has ids up to 2833, but the model has 60 embeddings" in description


def test_command_prints_one_line_and_returns_exit_status_2_for_damaged_or_missing_checkpoints(tmp_path, capsys):
    reference(transformers.XLMModel).save_pretrained(tmp_path)
    assert main(["inspect", str(tmp_path)]) == 0
    assert "2 layers" in capsys.readouterr().out
    torch.save({"embeddings.weight": 1}, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert main(["inspect", str(tmp_path)]) == 2
    assert "got a int under 'embeddings.weight'" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2
    assert "no such checkpoint directory" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [{"n_heads": 5}, {"model_type": "bert"}])
def test_invalid_config_is_an_error_that_names_the_file(tmp_path, settings, capsys):
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert main(["inspect", str(tmp_path)]) == 2
    assert str(tmp_path / "config.json") in capsys.readouterr().err
