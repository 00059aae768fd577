"""Both question answering heads against the reference."""

import pytest
import torch
import transformers

from tests.parity.reference_model import LOGITS, pack, packed_ways, padded, reference, save, sequences
from xlm_core import XLMForQuestionAnswering, XLMForQuestionAnsweringSimple, XLMModel
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.errors import FatalError
from xlm_core.heads import QuestionAnsweringHead, QuestionAnsweringSimpleHead

pytestmark = pytest.mark.usefixtures("no_gradients")

LONG_ENOUGH = [5, 24, 7, 5, 12, 23]  # for beams of five; the reference raises on shorter sequences
BEAMS = ["start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index", "cls_logits"]


@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("causal", [False, True])
def test_simple(tmp_path, parity, form, causal):
    theirs = reference(transformers.XLMForQuestionAnsweringSimple, causal=causal)
    ours = XLMForQuestionAnsweringSimple.from_pretrained(save(theirs, tmp_path, form))
    drawn = sequences()
    alone = [theirs(ids, langs=langs) for ids, langs in drawn]
    expected = torch.cat([torch.stack([one.start_logits[0], one.end_logits[0]], dim=1) for one in alone])
    batch = pack(drawn)
    trunk, head = XLMModel.from_pretrained(tmp_path), QuestionAnsweringSimpleHead.from_pretrained(tmp_path)
    shared = head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens)
    case = "causal" if causal else "masked"
    for got in (*packed_ways(ours, drawn), shared):
        parity("question answering, simple", f"{case}, packed", got, expected, LOGITS)

    ids, langs, mask = padded(drawn)
    starts, ends = torch.tensor([0, 0, 23, 5, 3, 30, -4, 0]), torch.tensor([4, 0, 23, 99, 3, 4, 2, 24])  # some outside
    for start_positions, end_positions in ((starts, ends), (starts[:, None], ends[:, None])):
        arguments = {
            "langs": langs,
            "attention_mask": mask,
            "start_positions": start_positions,
            "end_positions": end_positions,
        }
        got, wanted = ours(ids, **arguments), theirs(ids, **arguments)
        for name in ("start_logits", "end_logits"):
            parity("question answering, simple", f"{case}, padded, pads included", got[name], wanted[name], LOGITS)
        parity("question answering, simple, loss", case, got.loss, wanted.loss, LOGITS)
    assert ours(ids, mask, langs=langs, start_positions=starts).loss is None


def compare_beams(parity, what, case, ours, theirs, num_starts):
    """Compare the beams of one sequence; where the reference lists a forbidden token, there is no candidate."""
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
        clear = (gaps[1:] > 1e-6) & (gaps[:-1] > 1e-6) | (expected == 0)  # from the better and from the worse
        assert clear.float().mean() > 0.5  # a comparison of nothing but ties would not be one
        parity.exact(what, f"{case}, {side} index", index[clear], expected_index[clear])


def masks(ids):
    """Draw a p_mask [1, L] that forbids the first tokens, and one that leaves three allowed."""
    length = ids.shape[1]
    first, few = torch.zeros(1, length), torch.ones(1, length)
    first[0, : length - 5] = 1
    few[0, 1:4] = 0
    return {"no p_mask": None, "p_mask": first, "p_mask, fewer tokens than beams": few}


@pytest.mark.parametrize(
    ("num_starts", "num_ends", "causal", "form"),
    [(5, 5, False, "safetensors"), (3, 2, True, "bin"), (1, 4, False, "old bin"), (5, 1, True, "safetensors")],
)
def test_beams(tmp_path, parity, num_starts, num_ends, causal, form):
    changes = {"start_n_top": num_starts, "end_n_top": num_ends, "causal": causal}
    theirs = reference(transformers.XLMForQuestionAnswering, **changes)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, form))
    trunk, head = XLMModel.from_pretrained(tmp_path), QuestionAnsweringHead.from_pretrained(tmp_path)
    drawn = sequences(LONG_ENOUGH)
    batch = pack(drawn)
    ids, langs, mask = padded(drawn)
    for name in masks(drawn[0][0]):
        each = [masks(ids)[name] for ids, _ in drawn]
        allowed_T = None if name == "no p_mask" else torch.cat([p_mask[0] for p_mask in each]) == 0
        p_mask_BL = None if name == "no p_mask" else torch.ones(ids.shape)
        for row, p_mask in enumerate(each if p_mask_BL is not None else []):
            p_mask_BL[row, : p_mask.shape[1]] = p_mask
        for cls_index in (None, torch.tensor([0, 3, 6, 4, 0, 22])):
            hidden_TD = trunk.forward_packed(batch)
            options = {"allowed_T": allowed_T, "cls_index": cls_index}
            padded_output = ours(ids, mask, langs=langs, p_mask=p_mask_BL, cls_index=cls_index)
            each_allowed = [None] * len(drawn) if allowed_T is None else [p_mask[0] == 0 for p_mask in each]
            each_class = [None] * len(drawn) if cls_index is None else cls_index.split(1)
            each_answer = [
                ours.forward_packed(pack([one]), allowed_T=allowed, cls_index=index)
                for one, allowed, index in zip(drawn, each_allowed, each_class, strict=True)
            ]
            ways = [
                ours.forward_packed(batch, **options),
                tuple(torch.cat(field) for field in zip(*each_answer, strict=True)),
                head.forward_packed(hidden_TD, batch.cu_seqlens, **options),
                tuple(padded_output[field] for field in BEAMS),
            ]
            for row, ((row_ids, row_langs), p_mask) in enumerate(zip(drawn, each, strict=True)):
                alone = theirs(
                    row_ids,
                    langs=row_langs,
                    p_mask=p_mask,
                    cls_index=None if cls_index is None else cls_index[row : row + 1],
                )
                for way in ways:
                    answers = [value[row : row + 1] for value in way]
                    compare_beams(parity, "question answering, beams", name, answers, alone, num_starts)


def test_sequences_shorter_than_the_beams(tmp_path, parity):
    """The reference raises; what there is must be what it gives for as many beams as there are tokens."""
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences([1, 2, 12, 3])
    ids, langs, mask = padded(drawn)
    packed, output = ours.forward_packed(pack(drawn)), ours(ids, mask, langs=langs)
    for name in BEAMS:
        assert torch.equal(getattr(packed, name), output[name])  # right padding: columns are numbers
    for row, (row_ids, row_langs) in enumerate(drawn):
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


def test_no_token_allowed_is_no_candidate(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    (ids, langs), *_ = sequences([9])
    got, expected = (model(ids, langs=langs, p_mask=torch.ones(1, 9)) for model in (ours, theirs))
    assert (got.start_top_index == -1).all()
    assert (got.end_top_index == -1).all()
    assert not got.start_top_log_probs.any()
    assert not got.end_top_log_probs.any()
    parity("question answering, beams", "nothing allowed, answer class", got.cls_logits, expected.cls_logits, LOGITS)


def test_beams_of_any_mask_stand_in_the_padded_columns(tmp_path):
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


def test_beam_losses(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences(LONG_ENOUGH)
    ids, langs, mask = padded(drawn)
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
        for row, (row_ids, row_langs) in enumerate(drawn):
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
        # the reference leaves the pads out where p_mask says so
        p_mask = (1 - mask).float()
        expected = theirs(ids, attention_mask=mask, langs=langs, p_mask=p_mask, **positions, **more).loss
        got = ours(ids, mask, langs=langs, p_mask=p_mask, **positions, **more).loss
        parity("question answering, beams, loss", f"{case}, batch", got, expected, LOGITS)


def test_positions_are_columns_also_behind_pads_on_the_left(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences([5, 24, 7, 12])
    width, lengths = 24, torch.tensor([5, 24, 7, 12])
    shift = width - lengths
    ids, langs, positions = (torch.zeros(4, width, dtype=torch.int64) for _ in range(3))
    for row, (row_ids, row_langs) in enumerate(drawn):
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
    for row, (row_ids, row_langs) in enumerate(drawn):
        of_row = {name: value[row : row + 1] for name, value in of_tokens.items()}
        alone = theirs(row_ids, langs=row_langs, cls_index=of_row["cls_index"])
        case = "left padding"
        parity("question answering, beams", case, output.cls_logits[row], alone.cls_logits[0], LOGITS)
        parity("question answering, beams", case, output.start_top_log_probs[row], alone.start_top_log_probs[0], LOGITS)
        for name in ("start_top_index", "end_top_index"):
            parity.exact("question answering, beams", case, output[name][row] - shift[row], alone[name][0])
        losses.append(theirs(row_ids, langs=row_langs, **of_row, is_impossible=no_answer[row : row + 1]).loss)
    parity("question answering, beams, loss", "left padding", loss, torch.stack(losses).mean(), LOGITS)


def test_the_simple_head_wants_two_labels():
    with pytest.raises(FatalError, match="id2label: got 3 labels, expected 2 to answer questions"):
        QuestionAnsweringSimpleHead(XLMConfig.from_dict({"num_labels": 3}))
