"""A checkpoint that truly identifies the languages of the demo's corpus, trained within some seconds."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from xlm_core import XLMConfig, XLMForSequenceClassification, XLMTokenizer

_STEPS, _BATCH = 150, 64
_MAX_LENGTH = 24


def write_identifier(checkpoint: Path, rows: list[dict[str, str]], folder: Path) -> None:
    """Train a trunk of one layer and its head to name the language of a text, which gets no language itself.

    Args:
        checkpoint: the demo's; its tokenizer is used.
        rows: texts with their languages.
        folder: where the checkpoint is written.
    """
    folder.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, folder / name)
    langs = sorted({row["lang"] for row in rows})
    base = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    for name in ("id2label", "label2id"):
        del base[name]
    small = {"emb_dim": 32, "n_layers": 1, "n_heads": 2, "dropout": 0.0, "attention_dropout": 0.0}
    labels = {"id2label": dict(enumerate(langs)), "summary_type": "mean", "summary_first_dropout": 0.0}
    config = XLMConfig.from_dict(base | small | labels | {"use_lang_emb": False})
    tokenizer = XLMTokenizer.from_pretrained(checkpoint)
    texts = [row["text"] for row in rows]
    encoding = tokenizer.encode_batch(texts, [None] * len(texts), max_length=_MAX_LENGTH, with_offsets=False)
    sequences = [torch.from_numpy(ids.copy()) for ids in np.split(encoding.input_ids, encoding.cu_seqlens[1:-1])]
    targets = torch.tensor([langs.index(row["lang"]) for row in rows])

    generator = torch.manual_seed(5)
    model = XLMForSequenceClassification(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(_STEPS):
        chosen = torch.randint(len(rows), (_BATCH,), generator=generator)
        batch = [sequences[i].long() for i in chosen.tolist()]
        input_ids = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=config.pad_token_id)
        loss = model(input_ids, attention_mask=input_ids != config.pad_token_id, labels=targets[chosen]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
