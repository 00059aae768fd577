"""Batches and losses of objectives, in cases that the reference does not have."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.xlm_core.training.small_training import CONFIG, make_examples, make_model, make_sequences
from xlm_core.heads import SequenceClassificationHead
from xlm_core.training import Examples, SequenceClassification, TranslationRanking


def score(model, objective, examples, rng=None):
    examples = objective.prepare(examples, np.random.default_rng(0))
    with torch.no_grad():
        return objective.run(model.trunk, objective.make_batch(examples))


def test_rows_may_have_different_numbers_of_choices():
    model, objectives = make_model(["choice"])
    sequences = make_sequences([5, 9, 4, 7, 7, 6])
    sequences = replace(sequences, row_offsets=np.array([0, 2, 6], np.int32))
    both = score(model.eval(), objectives["choice"], Examples(sequences, np.array([1, 3])))
    single = [
        score(model, objectives["choice"], Examples(sequences, np.array([1, 3])).take(np.array([row])))
        for row in (0, 1)
    ]
    assert float(both.loss) == pytest.approx(sum(float(one.loss) for one in single) / 2, abs=1e-6)
    assert both.num_correct == sum(one.num_correct for one in single)


@pytest.mark.parametrize("name", ["answers", "beam answers"])
def test_unanswerable_rows_point_to_the_class_token(name):
    """The first token for the simple head, the last for the beam head, which also learns whether there is an answer."""
    model, objectives = make_model([name])
    sequences = make_sequences([6, 9])
    unanswerable = score(model, objectives[name], Examples(sequences, np.full((2, 2), -1)))
    class_tokens = np.array([[0, 0], [0, 0]] if name == "answers" else [[5, 5], [8, 8]])
    pointing = score(model, objectives[name], Examples(sequences, class_tokens))
    if name == "answers":
        assert unanswerable == pointing
    else:
        head, trunk = model.heads[name], model.trunk
        packed = objectives[name].make_batch(Examples(sequences, class_tokens)).packed
        hidden_TD = trunk.forward_packed(packed).detach()
        start_BD = hidden_TD[[5, 14]]
        logits_B = head.qa_outputs.answer_class(start_BD, start_BD)
        difference = (F.softplus(-logits_B) - F.softplus(logits_B)).mean() / 2  # label 1 instead of 0
        assert float(unanswerable.loss - pointing.loss) == pytest.approx(float(difference.detach()), abs=1e-5)


@pytest.mark.parametrize(
    ("problem", "num_labels", "targets"),
    [
        ("regression", 1, np.array([3, 0, 2])),
        (None, 1, np.array([3.0, 0.5, 2.0])),
        ("regression", 2, np.array([[3, 0], [1, 2], [5, 5]])),
        ("multi_label_classification", 2, np.array([[1, 0], [1, 1], [0, 0]])),
        (None, 2, np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])),
        ("single_label_classification", 2, np.array([1, 0, 1], np.int32)),
        (None, 2, np.array([1, 0, 1], np.int8)),
    ],
)
def test_problem_type_decides_whatever_the_type_of_the_targets(problem, num_labels, targets):
    torch.manual_seed(0)
    config = replace(CONFIG, problem_type=problem, id2label=dict(enumerate("ab"[:num_labels])))
    head = SequenceClassificationHead(config)
    objective = SequenceClassification(head)
    batch = objective.make_batch(Examples(make_sequences([5, 6, 7]), targets))
    hidden_TD = torch.randn(18, 16)
    logits_BC = head.forward_packed(hidden_TD, batch.packed.cu_seqlens)
    is_single = num_labels == 2 and targets.ndim == 1
    expected = head.loss(
        logits_BC, torch.from_numpy(targets).long() if is_single else torch.from_numpy(targets).float()
    )
    got = objective.score(hidden_TD, batch)
    torch.testing.assert_close(got.loss, expected)
    assert (got.num_correct is not None) == is_single


def test_label_smoothing():
    model, objectives = make_model(["topic"])
    smoothed = SequenceClassification(model.heads["topic"], label_smoothing=0.3)
    batch = objectives["topic"].make_batch(make_examples("topic"))
    hidden_TD = torch.randn(batch.packed.num_tokens, 16)
    logits_BC = model.heads["topic"].forward_packed(hidden_TD, batch.packed.cu_seqlens)
    share = 0.7 * F.one_hot(batch.targets, 3) + 0.1
    expected = -(share * logits_BC.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(smoothed.score(hidden_TD, batch).loss, expected)


def test_ranking_loss():
    """Equal texts on either side are not wrong answers; margin and temperature as in the paper."""
    sequences = make_sequences([5, 6, 5, 7, 4, 6], per_row=2)
    sequences.input_ids[11:16] = sequences.input_ids[:5]  # the first texts of rows 0 and 1 are equal
    objective = TranslationRanking(temperature=0.1, margin=0.2)
    batch = objective.make_batch(Examples(sequences))
    assert batch.targets.tolist() == [[0, 1], [0, 2], [3, 4]]
    hidden_TD = torch.randn(33, 16)
    bounds = batch.packed.cu_seqlens.tolist()
    vectors = [hidden_TD[a:b].mean(0) for a, b in pairwise(bounds)]
    losses = []
    for own, other in ((vectors[::2], vectors[1::2]), (vectors[1::2], vectors[::2])):
        for i in range(3):
            cosines = torch.stack(
                [F.cosine_similarity(own[i], text, dim=0) - 0.2 * (i == j) for j, text in enumerate(other)]
            )
            kept = [j for j in range(3) if j == i or {i, j} != {0, 1}]
            losses.append(-(cosines / 0.1)[kept].log_softmax(0)[kept.index(i)])
    torch.testing.assert_close(objective.score(hidden_TD, batch).loss, torch.stack(losses).mean())


def test_layer_of_the_trunk():
    model, _ = make_model(["ranking"])
    examples = make_examples("ranking")
    with torch.no_grad():
        states = model.trunk.forward_packed(
            TranslationRanking().make_batch(examples).packed, output_hidden_states=True
        )[1]
    for layer in (0, 1, 2):
        objective = TranslationRanking(layer=layer)
        expected = objective.score(states[layer], objective.make_batch(examples))
        torch.testing.assert_close(score(model, objective, examples).loss, expected.loss)


def test_tokens_without_a_successor_are_not_predicted():
    _, objectives = make_model(["causal"])
    sequences = make_sequences([4, 1, 3])
    batch = objectives["causal"].make_batch(Examples(sequences))
    ids = sequences.input_ids
    assert batch.targets.tolist() == [*ids[1:4], -100, -100, *ids[6:8], -100]
    assert batch.num_targets == 5
