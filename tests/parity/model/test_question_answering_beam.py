"""The beam head for question answering, compared with the reference."""

import pytest
import torch
import transformers

from tests.parity.reference_model import LOGITS, pack, padded, reference, save, sequences
from xlm_core import XLMForQuestionAnswering, XLMModel
from xlm_core.heads import QuestionAnsweringHead

pytestmark = pytest.mark.usefixtures("no_gradients")

LONG_ENOUGH = [5, 24, 7, 5, 12, 23]  # for beams of five; the reference raises on shorter sequences
BEAMS = ["start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index", "cls_logits"]


def compare_beams(parity, what, case, ours, theirs, num_starts):
    """Compare the beams of one sequence; where the reference returns a forbidden token, ours has no candidate."""
    ours = dict(zip(BEAMS, ours, strict=True))
    is_start = theirs["start_top_log_probs"].view(1, -1) > 0
    parity(what, f"{case}, answer class", ours["cls_logits"].view(-1), theirs["cls_logits"], LOGITS)
    for side, num_columns, exists in (("start", 1, is_start.T), ("end", num_starts, is_start)):
        got, expected = (beams[f"{side}_top_log_probs"].view(-1, num_columns) for beams in (ours, theirs))
        expected = expected.where(exists, 0)
        parity(what, f"{case}, {side}", got, expected, LOGITS)
        index, expected_index = (beams[f"{side}_top_index"].view(-1, num_columns) for beams in (ours, theirs))
        expected_index = expected_index.where(expected > 0, -1)
        gaps = torch.nn.functional.pad(expected.diff(dim=0).abs(), (0, 0, 1, 1), value=1.0)
        is_clear = (gaps[1:] > 1e-6) & (gaps[:-1] > 1e-6) | (expected == 0)  # no tie with the next better or worse one
        assert is_clear.float().mean() > 0.5  # otherwise most comparisons would be skipped as ties
        parity.exact(what, f"{case}, {side} index", index[is_clear], expected_index[is_clear])


def build_p_masks(ids):
    """Build a p_mask [1, L] that forbids the first tokens, and one that allows three tokens."""
    length = ids.shape[1]
    first, few = torch.zeros(1, length), torch.ones(1, length)
    first[0, : length - 5] = 1
    few[0, 1:4] = 0
    return {"no p_mask": None, "p_mask": first, "p_mask, fewer tokens than beams": few}


@pytest.mark.parametrize(
    ("num_starts", "num_ends", "causal", "file_format"),
    [(5, 5, False, "safetensors"), (3, 2, True, "bin"), (1, 4, False, "old bin"), (5, 1, True, "safetensors")],
)
def test_beams_of_packed_and_padded_batches(tmp_path, parity, num_starts, num_ends, causal, file_format):
    changes = {"start_n_top": num_starts, "end_n_top": num_ends, "causal": causal}
    theirs = reference(transformers.XLMForQuestionAnswering, **changes)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, file_format))
    trunk, head = XLMModel.from_pretrained(tmp_path), QuestionAnsweringHead.from_pretrained(tmp_path)
    samples = sequences(LONG_ENOUGH)
    batch = pack(samples)
    ids, langs, mask = padded(samples)
    for name in build_p_masks(samples[0][0]):
        each = [build_p_masks(ids)[name] for ids, _ in samples]
        allowed_T = None if name == "no p_mask" else torch.cat([p_mask[0] for p_mask in each]) == 0
        p_mask_BL = None if name == "no p_mask" else torch.ones(ids.shape)
        for row, p_mask in enumerate(each if p_mask_BL is not None else []):
            p_mask_BL[row, : p_mask.shape[1]] = p_mask
        for cls_index in (None, torch.tensor([0, 3, 6, 4, 0, 22])):
            hidden_TD = trunk.forward_packed(batch)
            options = {"allowed_T": allowed_T, "cls_index": cls_index}
            padded_output = ours(ids, mask, langs=langs, p_mask=p_mask_BL, cls_index=cls_index)
            each_allowed = [None] * len(samples) if allowed_T is None else [p_mask[0] == 0 for p_mask in each]
            each_class = [None] * len(samples) if cls_index is None else cls_index.split(1)
            each_answer = [
                ours.forward_packed(pack([one]), allowed_T=allowed, cls_index=index)
                for one, allowed, index in zip(samples, each_allowed, each_class, strict=True)
            ]
            results = [
                ours.forward_packed(batch, **options),
                tuple(torch.cat(field) for field in zip(*each_answer, strict=True)),
                head.forward_packed(hidden_TD, batch.cu_seqlens, **options),
                tuple(padded_output[field] for field in BEAMS),
            ]
            for row, ((row_ids, row_langs), p_mask) in enumerate(zip(samples, each, strict=True)):
                alone = theirs(
                    row_ids,
                    langs=row_langs,
                    p_mask=p_mask,
                    cls_index=None if cls_index is None else cls_index[row : row + 1],
                )
                for result in results:
                    answers = [value[row : row + 1] for value in result]
                    compare_beams(parity, "question answering, beams", name, answers, alone, num_starts)


def test_sequences_with_fewer_tokens_than_beams_have_missing_candidates(tmp_path, parity):
    """The reference raises an error, so it is compared with as many beams as there are tokens."""
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences([1, 2, 12, 3])
    ids, langs, mask = padded(samples)
    packed, output = ours.forward_packed(pack(samples)), ours(ids, mask, langs=langs)
    for name in BEAMS:
        assert torch.equal(getattr(packed, name), output[name])  # with right padding, columns equal positions
    for row, (row_ids, row_langs) in enumerate(samples):
        num = min(row_ids.shape[1], 5)
        with pytest.raises(RuntimeError) if num < 5 else torch.no_grad():
            theirs(row_ids, langs=row_langs)
        theirs.qa_outputs.start_n_top = theirs.qa_outputs.end_n_top = num
        alone = theirs(row_ids, langs=row_langs)
        theirs.qa_outputs.start_n_top = theirs.qa_outputs.end_n_top = 5
        end_probs, end_index = (x[row].view(5, 5) for x in (packed.end_top_log_probs, packed.end_top_index))
        got = [
            packed.start_top_log_probs[row, :num],
            packed.start_top_index[row, :num],
            end_probs[:num, :num].flatten(),
            end_index[:num, :num].flatten(),
            packed.cls_logits[row],
        ]
        compare_beams(parity, "question answering, beams", "short sequences", got, alone, num)
        assert (packed.start_top_index[row, num:] == -1).all()
        assert not packed.start_top_log_probs[row, num:].any()
        assert (end_index[num:] == -1).all()
        assert (end_index[:, num:] == -1).all()
        assert not end_probs[num:].any()
        assert not end_probs[:, num:].any()


def test_no_allowed_token_gives_no_candidate(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    (ids, langs), *_ = sequences([9])
    got, expected = (model(ids, langs=langs, p_mask=torch.ones(1, 9)) for model in (ours, theirs))
    assert (got.start_top_index == -1).all()
    assert (got.end_top_index == -1).all()
    assert not got.start_top_log_probs.any()
    assert not got.end_top_log_probs.any()
    parity("question answering, beams", "no token allowed, answer class", got.cls_logits, expected.cls_logits, LOGITS)


def test_indices_are_padded_columns_for_any_mask(tmp_path):
    ours = XLMForQuestionAnswering.from_pretrained(
        save(reference(transformers.XLMForQuestionAnswering), tmp_path, "safetensors")
    )
    ids, langs, _ = padded(sequences([12]))
    mask = torch.tensor([[0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0]])
    output = ours(ids, mask, langs=langs, cls_index=torch.tensor([2]))
    for index in (output.start_top_index, output.end_top_index):
        assert mask[0, index[0]].all()
    with pytest.raises(ValueError, match=r"cls_index: row 0: column 4 is a pad, expected a token"):
        ours(ids, mask, langs=langs, cls_index=torch.tensor([4]))
    with pytest.raises(ValueError, match=r"start_positions: got \[12\], expected 1 columns from 0 to 11"):
        ours(ids, mask, langs=langs, start_positions=torch.tensor([12]), end_positions=torch.tensor([2]))
    with pytest.raises(ValueError, match=r"p_mask: got shape \[1, 7\], expected \[1, 12\]"):
        ours(ids, mask, langs=langs, p_mask=torch.ones(1, 7))


def test_losses(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences(LONG_ENOUGH)
    ids, langs, mask = padded(samples)
    positions = {
        "start_positions": torch.tensor([1, 20, 3, 2, 0, 7]),
        "end_positions": torch.tensor([3, 23, 3, 4, 11, 9]),
    }
    no_answer = {"cls_index": torch.tensor([0, 0, 0, 0, 11, 1]), "is_impossible": torch.tensor([0.0, 1, 0, 1, 1, 0])}
    for case, more in {
        "no class": {},
        "class": no_answer,
        "class index alone": {"cls_index": no_answer["cls_index"]},
    }.items():
        each = []
        for row, (row_ids, row_langs) in enumerate(samples):
            of_row = {name: value[row : row + 1] for name, value in (positions | more).items()}
            expected = theirs(row_ids, langs=row_langs, **{k: v.clone() for k, v in of_row.items()}).loss
            parity(
                "question answering, beams, loss", f"{case}, alone",
                ours(row_ids, langs=row_langs, **of_row).loss, expected, LOGITS,
            )  # fmt: skip
            each.append(expected)
        got = ours(ids, mask, langs=langs, **positions, **more)
        assert got.keys() == {"loss"}
        parity("question answering, beams, loss", f"{case}, batch", got.loss, torch.stack(each).mean(), LOGITS)
        # with a p_mask, the reference excludes the pads
        p_mask = (1 - mask).float()
        expected = theirs(ids, attention_mask=mask, langs=langs, p_mask=p_mask, **positions, **more).loss
        got = ours(ids, mask, langs=langs, p_mask=p_mask, **positions, **more).loss
        parity("question answering, beams, loss", f"{case}, batch", got, expected, LOGITS)


def test_positions_are_columns_with_left_padding(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences([5, 24, 7, 12])
    width, lengths = 24, torch.tensor([5, 24, 7, 12])
    shift = width - lengths
    ids, langs, positions = (torch.zeros(4, width, dtype=torch.int64) for _ in range(3))
    for row, (row_ids, row_langs) in enumerate(samples):
        ids[row, shift[row] :], langs[row, shift[row] :] = row_ids[0], row_langs[0]
        positions[row, shift[row] :] = torch.arange(lengths[row])
    mask = (torch.arange(width) >= shift[:, None]).long()
    of_tokens = {
        "cls_index": torch.tensor([1, 0, 3, 2]),
        "start_positions": torch.tensor([2, 20, 0, 4]),
        "end_positions": torch.tensor([4, 23, 3, 11]),
    }
    of_columns = {name: value + shift for name, value in of_tokens.items()}
    no_answer = torch.tensor([1.0, 0, 0, 1])
    arguments = {"attention_mask": mask, "langs": langs, "position_ids": positions}
    output = ours(ids, **arguments, cls_index=of_columns["cls_index"])
    loss = ours(ids, **arguments, **of_columns, is_impossible=no_answer).loss
    losses = []
    for row, (row_ids, row_langs) in enumerate(samples):
        of_row = {name: value[row : row + 1] for name, value in of_tokens.items()}
        alone = theirs(row_ids, langs=row_langs, cls_index=of_row["cls_index"])
        case = "left padding"
        parity("question answering, beams", case, output.cls_logits[row], alone.cls_logits[0], LOGITS)
        parity("question answering, beams", case, output.start_top_log_probs[row], alone.start_top_log_probs[0], LOGITS)
        for name in ("start_top_index", "end_top_index"):
            parity.exact("question answering, beams", case, output[name][row] - shift[row], alone[name][0])
        losses.append(theirs(row_ids, langs=row_langs, **of_row, is_impossible=no_answer[row : row + 1]).loss)
    parity("question answering, beams, loss", "left padding", loss, torch.stack(losses).mean(), LOGITS)
