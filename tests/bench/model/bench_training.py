"""Time of training relative to transformers' Trainer: `python -m tests.bench.run training`.

Both train the same weights on the same sentences, of any language and length, by masked language modeling: one epoch,
with dropout, in float32, with AdamW and the same number of tokens in each step on average. The Trainer pads each batch
to its longest sentence, as its standard collator does, with sentences in random order, or all sorted by length: the
least padding that `group_by_length` reaches in a large corpus. It needs a package that is not a dependency; to install
it for this benchmark:

    pip install --no-deps --target FOLDER accelerate
    PYTHONPATH=FOLDER python -m tests.bench.run training
"""

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.bench.corpora import Corpora, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import time_alternately
from xlm_core import XLMTokenizer
from xlm_core.decoding import Sequences
from xlm_core.heads import LanguageModelHead
from xlm_core.model import Trunk
from xlm_core.training import (
    LM_HEAD,
    Examples,
    MaskedLanguageModeling,
    Masking,
    RowSampler,
    Schedule,
    TrainedObjective,
    Trainer,
    TrainerSettings,
    TrainingModel,
)

ROUNDS, MAX_CHARS, THREADS, SENTENCES, TOKENS_PER_STEP, RATE = 2, 400, 2, 400, 1_000, 1e-4
SHAPE = {"emb_dim": 256, "n_layers": 4, "n_heads": 4}
MASK, NUM_SPECIAL = 5, 14
PADDED = {"sentences in random order": "random", "sentences sorted by length": "sequential"}
GOALS = {"sentences in random order": "2 x"}


def measure(corpora: Corpora) -> Iterator[Row]:
    what = f"masked language modeling, float32, 4 x 256, {THREADS} threads"
    if importlib.util.find_spec("accelerate") is None:
        yield Row(f"{what}: transformers' Trainer", "accelerate is not installed", "2 x")
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        # without embeddings of languages, which the standard collator does not pad
        write_checkpoint(checkpoint, corpora.sentences, use_lang_emb=False, mask_token_id=MASK, **SHAPE)
        tokenizer = XLMTokenizer.from_pretrained(checkpoint, zh="rjieba", ja="fugashi")
        # the last ones, because the vocabulary is learned from the first ones
        chosen = [sentence for sentence in corpora.sentences if len(sentence.text) <= MAX_CHARS][-SENTENCES:]
        encoding = tokenizer.encode_batch([text for _, text in chosen], [lang for lang, _ in chosen], max_length=512)
        ids, cu_seqlens = encoding.input_ids, encoding.cu_seqlens
        functions = {"ours": packed(checkpoint, ids, cu_seqlens)}
        for order, strategy in PADDED.items():
            functions[order] = padded(checkpoint, ids, cu_seqlens, strategy, Path(folder) / "out")
        num_threads = torch.get_num_threads()
        torch.set_num_threads(THREADS)
        times = time_alternately(functions, ROUNDS)
        torch.set_num_threads(num_threads)
    for order in PADDED:
        yield Row(f"{what}: transformers' Trainer, {order}", times.speedup("ours", over=order), GOALS.get(order, ""))
    yield Row(f"{what}: tokens per second", f"{len(ids) / times.median('ours'):,.0f}")


def packed(checkpoint: Path, ids: np.ndarray, cu_seqlens: np.ndarray) -> Callable[[], object]:
    """Train for one epoch; a second call trains for another one."""
    num_rows = len(cu_seqlens) - 1
    sequences = Sequences(
        ids,
        cu_seqlens,
        np.full(num_rows, -1, np.int32),
        np.arange(num_rows + 1, dtype=np.int32),
        np.zeros(num_rows, np.int32),
        np.empty(0, np.int32),
        np.empty((0, 2), np.int32),
    )
    trunk, head = Trunk.from_pretrained(checkpoint), LanguageModelHead.from_pretrained(checkpoint)
    masking = Masking.from_counts(np.ones(trunk.config.vocab_size, np.int64), range(NUM_SPECIAL), MASK, 0.15, 0.0)
    sampler = RowSampler(Examples(sequences), np.zeros(num_rows, np.int64), None, 0)
    trained = TrainedObjective(MaskedLanguageModeling(head, masking), sampler)
    settings = TrainerSettings(Schedule(RATE, 0, 1, "constant"), TOKENS_PER_STEP, TOKENS_PER_STEP)
    trainer = Trainer(TrainingModel(trunk, {LM_HEAD: head}), {"masked": trained}, settings)

    def run() -> None:
        num_done = 0
        while num_done < len(ids):
            num_done += trainer.run_step().num_tokens

    return run


def num_tokens(row: dict[str, list[int]]) -> int:
    return len(row["input_ids"])


def padded(checkpoint: Path, ids: np.ndarray, cu_seqlens: np.ndarray, order: str, out: Path) -> Callable[[], object]:
    """Train for one epoch with the Trainer."""
    tokenizer = transformers.XLMTokenizer.from_pretrained(checkpoint)
    model = transformers.XLMWithLMHeadModel.from_pretrained(checkpoint)
    arguments = transformers.TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=round(TOKENS_PER_STEP / np.diff(cu_seqlens).mean()),
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        train_sampling_strategy=order,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    rows = sorted(({"input_ids": ids[start:end].tolist()} for start, end in pairwise(cu_seqlens)), key=num_tokens)
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    return lambda: transformers.Trainer(model, arguments, collator, rows).train()
