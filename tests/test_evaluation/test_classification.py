"""Prompt ensembles by hand, top-k against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from eclip_mm.evaluation.functional import (
    classify,
    ensemble_prompts,
    topk_chance,
    topk_correct,
)


def test_ensemble_by_hand():
    # (3, 4) and (0, 2) become (.6, .8) and (0, 1); their mean (.3, .9) has length sqrt(.9)
    feats = ensemble_prompts([[[3.0, 4.0], [0.0, 2.0]], [[5.0, 0.0]]])
    np.testing.assert_allclose(feats, [[0.3 / 0.9**0.5, 0.9 / 0.9**0.5], [1, 0]], rtol=1e-6)
    assert feats.dtype == np.float32
    np.testing.assert_allclose(ensemble_prompts(torch.tensor([[0.0, 3.0]])), [[0, 1]])


@pytest.mark.parametrize(
    'feats, words',
    [
        ([np.zeros((0, 2))], 'class 0 needs'),
        ([[1.0, 0.0], [1.0, np.inf]], 'class 1 is not finite'),
        ([[1.0, 0.0], [1.0, 0.0, 0.0]], 'class 1 has features of width 3'),
    ],
)
def test_ensemble_errors(feats, words):
    with pytest.raises(ValueError, match=words):
        ensemble_prompts(feats)


def test_topk_equals_sklearn():
    rng = np.random.default_rng(0)
    feats, classes = rng.normal(size=(200, 6)), rng.normal(size=(9, 6))
    labels = rng.integers(0, 9, 200)
    similarity = feats @ (classes / np.linalg.norm(classes, axis=1, keepdims=True)).T
    ranked = classify(feats, classes, 5)
    for k in (1, 2, 5):
        expected = top_k_accuracy_score(labels, similarity, k=k, labels=range(9))
        assert topk_correct(ranked, labels, k).mean() == pytest.approx(expected)


def test_ties_and_missing_labels():
    ranked = classify(np.ones((2, 2)), np.ones((3, 2)), 2)
    assert ranked.tolist() == [[0, 1], [0, 1]]
    assert topk_correct(ranked, [1, -1], 2).tolist() == [1, 0]
    # fewer classes than k, padded or not: -1 never matches -1
    assert topk_correct([[0, -1]], [-1], 2).tolist() == [0]


def test_chance():
    assert topk_chance(81, 1) == 1 / 81 and topk_chance(81, 5) == 5 / 81
    assert topk_chance(3, 5) == 1
