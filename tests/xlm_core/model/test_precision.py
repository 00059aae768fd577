"""Precisions: float64 for float64 inputs, so that gradients can be checked, and float32 logits in half precision."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.autograd import gradcheck

from xlm_core import XLMModel
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.heads import (
    POOLINGS,
    LanguageModelHead,
    MultipleChoiceHead,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    SequenceClassificationHead,
    TokenClassificationHead,
)
from xlm_core.precision import upcast

CONFIG = XLMConfig(
    vocab_size=20, emb_dim=8, n_layers=1, n_heads=2, max_position_embeddings=6, start_n_top=2, end_n_top=2, init_std=0.5
)
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CU_SEQLENS = torch.tensor([0, 2, 5], dtype=torch.int32)
ASM = {"asm": True, "asm_cutoffs": [5, 12], "asm_div_value": 2.0}


def hidden():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 8, dtype=torch.float64, generator=generator, requires_grad=True)


def build(head_class, **changes):
    torch.manual_seed(0)
    return head_class(XLMConfig.from_dict(CONFIG.to_dict() | changes)).double().eval()


def test_upcast_converts_to_float32_and_keeps_float64():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert upcast(torch.ones(1, dtype=dtype)).dtype == torch.float32
    assert upcast(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_gradients(name):
    assert gradcheck(lambda hidden_TD: POOLINGS[name](hidden_TD, CU_SEQLENS), (hidden(),))


@pytest.mark.parametrize(
    "head_class",
    [SequenceClassificationHead, TokenClassificationHead, QuestionAnsweringSimpleHead, MultipleChoiceHead],
)
def test_scoring_head_gradients(head_class):
    head = build(head_class, summary_type="mean")
    assert gradcheck(lambda hidden_TD: head.forward_packed(hidden_TD, CU_SEQLENS), (hidden(),))


@pytest.mark.parametrize("changes", [{}, ASM], ids=["full", "adaptive"])
def test_language_model_head_gradients(changes):
    head = build(LanguageModelHead, **changes)
    targets = torch.tensor([0, 6, 19, 13, 4])
    for function in (head.log_probs, lambda hidden_TD: head.token_log_probs(hidden_TD, targets)):
        assert gradcheck(function, (hidden(),))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, ASM], ids=["full", "adaptive"])
def test_language_model_head_in_half_precision_computes_in_float32(changes, dtype, device, monkeypatch):
    monkeypatch.setattr("xlm_core.heads.language_modeling._SLICE_WORDS", 7)
    head = build(LanguageModelHead, **changes).to(device, dtype)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(8)  # large logits: of those above 16, bfloat16 keeps eighths
    exact = build(LanguageModelHead, **changes).to(device)
    exact.load_state_dict(head.state_dict())  # the same values in float64
    hidden_ND, targets_N = hidden().detach().to(device, dtype), torch.tensor([0, 6, 19, 13, 4], device=device)
    for is_trained in (False, True):
        with torch.set_grad_enabled(is_trained):
            for function in (
                lambda h, x: h(x),
                lambda h, x: h.log_probs(x),
                lambda h, x: h.token_log_probs(x, targets_N),
            ):
                found, expected = function(head, hidden_ND), function(exact, hidden_ND.double())
                assert found.dtype == torch.float32
                assert expected.abs().max() > 10
                torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)
    assert head(hidden_ND[None]).shape == (1, 5, 20)
    head.loss(hidden_ND, targets_N).backward()
    exact.loss(hidden_ND.double(), targets_N).backward()
    for parameter, other in zip(head.parameters(), exact.parameters(), strict=True):
        assert parameter.grad.dtype == dtype
        assert torch.allclose(parameter.grad.double(), other.grad, rtol=0.02, atol=0.01)


def test_beam_head_gradients_and_dtypes():
    head = build(QuestionAnsweringHead)
    positions = torch.tensor([0, 1]), torch.tensor([1, 2])
    found = head.forward_packed(hidden(), CU_SEQLENS)
    assert {value.dtype for value in found} == {torch.float64, torch.int64}
    assert gradcheck(lambda hidden_TD: head.forward_packed(hidden_TD, CU_SEQLENS).cls_logits, (hidden(),))
    options = {"cls_index": torch.tensor([0, 0]), "is_impossible": torch.tensor([1, 0])}
    assert gradcheck(lambda hidden_TD: head.loss(hidden_TD, CU_SEQLENS, *positions, **options), (hidden(),))


@pytest.mark.parametrize("output_attentions", [False, True])
def test_trunk_gradients(output_attentions):
    trunk = build(XLMModel)
    vectors = hidden()[None]

    def run(inputs_embeds):
        return trunk(inputs_embeds=inputs_embeds, output_attentions=output_attentions).last_hidden_state

    assert gradcheck(run, (vectors.detach().requires_grad_(),))


def test_an_adaptive_softmax_in_half_precision_is_used_by_several_threads():
    head = build(LanguageModelHead, **ASM).to(torch.bfloat16)
    hidden_ND, targets_N = hidden().detach().bfloat16(), torch.tensor([0, 6, 19, 13, 4])

    @torch.no_grad()
    def score(_):
        return head.token_log_probs(hidden_ND, targets_N)

    with ThreadPoolExecutor(4) as pool:
        scores = [*pool.map(score, range(200))]
    assert all(torch.equal(score_N, scores[0]) for score_N in scores)
    assert all(parameter.dtype == torch.bfloat16 for parameter in head.parameters())
