"""Loss functions against numbers worked by hand and the equations as written."""

import math

import pytest
import torch

from eclip_mm.models.losses import (
    AssignmentEntropyLoss,
    InfoNCELoss,
    assignment_entropy_loss,
    info_nce,
    query_entropy,
)


def test_info_nce_by_hand():
    """Logits (0, log 3): the target has probability 1/4, then 3/4."""
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = info_nce(logits, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)
    assert InfoNCELoss(loss_weight=2.0)(logits, torch.tensor([0, 1])).item() == pytest.approx(
        2 * loss.item()
    )


def test_info_nce_leaves_other_samples_of_the_product_out():
    logits = torch.tensor([[1.0, 5.0, 2.0]])
    ignore = torch.tensor([[True, True, False]])  # the positive itself stays
    loss = info_nce(logits, torch.tensor([0]), ignore)
    assert loss.item() == pytest.approx(math.log(1 + math.e), rel=1e-6)


def test_entropy_by_hand():
    # one query spread over both tokens, one on a single token
    m = torch.tensor([[[0.3, 0.0], [0.3, 0.8]]])
    # 1e-6: the epsilon inside the logarithm
    torch.testing.assert_close(
        query_entropy(m), torch.tensor([[math.log(2), 0.0]]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('reduce_negatives', ['sum', 'mean'])
def test_entropy_loss_is_equation_10(reduce_negatives):
    torch.manual_seed(0)
    m = torch.randn(3, 7, 4, dtype=torch.float64).softmax(dim=2)
    r = torch.tensor([0, 3, 1])
    total = 0
    for b in range(3):
        h = m[b] / m[b].sum(dim=0)
        own, others = 0, 0
        for t in range(4):
            entropy = sum(h[i, t] * torch.log(1 / h[i, t]) for i in range(7))
            if t == r[b]:
                own += entropy
            else:
                others += math.log(7) - entropy
        total += own + (others if reduce_negatives == 'sum' else others / 3)
    loss = assignment_entropy_loss(m, r, reduce_negatives)
    assert loss.item() == pytest.approx(total.item() / 3, rel=1e-5)  # float32 inside


def test_entropy_loss_rejects_unknown_reduction():
    with pytest.raises(ValueError, match='reduce_negatives'):
        AssignmentEntropyLoss(reduce_negatives='max')
