"""fill-mask, lm-scoring and text-generation give what the library gives for each row alone."""

import math

import numpy as np
import pytest
import torch

from tests.flow.tasks.encoded_rows import encode_row
from xlm_core import PackedBatch, XLMWithLMHeadModel


@torch.inference_mode()
def test_fills_are_the_most_likely_tokens_of_each_mask(run_rows, rows, checkpoints, tokenizer):
    marked = [row | {"text": f"[MASK] {row['text']} [MASK]." if i % 2 else row["text"]} for i, row in enumerate(rows)]
    found = run_rows(marked, [{"fill-mask": {"top_k": 3, "mask": "[MASK]"}}])
    model = XLMWithLMHeadModel.from_pretrained(checkpoints / "lm")
    for i, row in enumerate(marked):
        batch = encode_row(tokenizer, row, row["text"], mask_marker="[MASK]", max_length=128)
        positions = torch.nonzero(batch.input_ids == tokenizer.mask_token_id).flatten()
        probs = model.forward_packed(batch)[positions].softmax(-1)
        expected = probs.topk(3)
        fills = found[row["id"]]["fills"]
        assert len(fills) == (2 if i % 2 else 0)
        for fill, scores, ids in zip(fills, expected.values, expected.indices, strict=True):
            assert np.allclose([pair["score"] for pair in fill], scores, atol=1e-4)
            assert [pair["token"] for pair in fill] == [
                token.removesuffix("</w>") for token in tokenizer.convert_ids_to_tokens(ids.tolist())
            ]


@torch.inference_mode()
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_log_likelihood_is_the_sum_over_the_text_s_tokens(run_rows, rows, checkpoints, tokenizer, objective):
    found = run_rows(rows, ["lm-scoring"], model={"objective": objective}, batch__max_tokens=300)
    model = XLMWithLMHeadModel.from_pretrained(checkpoints / "lm", causal=objective == "causal")
    for row in rows[:12]:
        batch = encode_row(tokenizer, row, row["text"], max_length=128)
        ids = batch.input_ids.long()
        text_tokens = range(1, len(ids) - 1)
        if objective == "causal":
            log_probs = model.forward_packed(batch).log_softmax(-1)
            total = sum(float(log_probs[position - 1, ids[position]]) for position in text_tokens)
        else:
            total = 0.0
            for position in text_tokens:
                masked = ids.clone()
                masked[position] = tokenizer.mask_token_id
                changed = PackedBatch(masked, batch.positions, batch.cu_seqlens, batch.langs)
                total += float(model.forward_packed(changed).log_softmax(-1)[position, ids[position]])
        out = found[row["id"]]
        assert out["num_tokens"] == len(text_tokens)
        assert abs(out["log_likelihood"] - total) < 1e-4 * len(text_tokens)
        assert math.isclose(out["perplexity"], math.exp(-out["log_likelihood"] / len(text_tokens)))


@torch.inference_mode()
def test_generated_text_does_not_depend_on_other_rows(run_rows, rows, checkpoints, tokenizer):
    model = {"objective": "causal"}
    with pytest.raises(Exception, match=r"exceed the 128 positions of .* set tokenizer.max_length to at most 121"):
        run_rows(rows, [{"text-generation": {"max_new_tokens": 8}}], model=model)
    short = {"model": model, "tokenizer__max_length": 121}
    found = run_rows(rows, [{"text-generation": {"max_new_tokens": 8}}], **short)
    causal = XLMWithLMHeadModel.from_pretrained(checkpoints / "lm", causal=True)
    for row in rows[:10]:
        batch = encode_row(tokenizer, row, row["text"], max_length=121)
        prompt = batch.input_ids.long()[None, :-1]
        lang = int(batch.langs[0])
        ids = causal.generate(prompt, max_new_tokens=8, langs=lang, eos_token_id=tokenizer.sep_token_id)
        assert found[row["id"]]["generated"] == tokenizer.decode(
            ids[0, prompt.shape[1] :].tolist(), skip_special_tokens=True
        )
    draw = [{"text-generation": {"max_new_tokens": 8, "sample": True, "temperature": 0.9, "top_p": 0.9, "seed": 7}}]
    drawn = run_rows(rows, draw, **short)
    assert run_rows(rows[::-1], draw, **short, batch__max_tokens=50, output__rows_per_shard=7) == drawn
    assert drawn != found


def test_generation_with_a_masked_checkpoint_is_refused(run_rows, rows):
    with pytest.raises(Exception, match=r"text-generation: the model is masked .* model.objective\) to causal"):
        run_rows(rows, ["text-generation"])
