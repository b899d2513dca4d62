"""Each pretext task against its equation, written as loops."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from eclip_mm.models.heads import (
    InterProductHead,
    IntraProductHead,
    ITCHead,
    ITMHead,
    PretextHeads,
    draw_hard_negatives,
)
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.models.slot_health import slot_health

B, T, N, D = 4, 3, 6, 8


@pytest.fixture
def outputs():
    torch.manual_seed(0)
    unit = lambda *shape: F.normalize(torch.randn(*shape), dim=-1)  # noqa: E731
    return PretrainOutputs(
        image_feats=unit(B, D),
        text_feats=unit(B, D),
        id_hash=torch.arange(B),
        logit_scale=torch.tensor(5.0),
        random_draws=torch.rand(B),
        instance_feats=torch.randn(B, T, D),
        assign_maps=[torch.randn(B, N, T).softmax(dim=2)],
        positive_index=torch.tensor([0, 2, 1, 1]),
        teacher_instance_feats=unit(B, D),
    )


def test_itc_is_equations_6_and_7(outputs):
    s = outputs.image_feats @ outputs.text_feats.T * 5
    i2t = -sum(math.log(s[i, i].exp() / s[i].exp().sum()) for i in range(B)) / B
    t2i = -sum(math.log(s[i, i].exp() / s[:, i].exp().sum()) for i in range(B)) / B
    # float32 logits of size 5
    assert ITCHead().loss(outputs)['loss_itc'].item() == pytest.approx((i2t + t2i) / 2, rel=1e-5)


def test_inter_product_is_equation_8(outputs):
    h = F.normalize(outputs.instance_feats[range(B), outputs.positive_index], dim=-1)
    total = 0
    for i in range(B):
        positive = (5 * h[i] @ outputs.teacher_instance_feats[i]).exp()
        negatives = sum(
            (5 * h[i] @ outputs.teacher_instance_feats[k]).exp() for k in range(B) if k != i
        )
        total -= math.log(positive / (positive + negatives))
    loss = InterProductHead().loss(outputs)['loss_inter']
    assert loss.item() == pytest.approx(total / B, rel=1e-5)


def test_intra_product_is_equation_9(outputs):
    h = F.normalize(outputs.instance_feats, dim=-1)
    total = 0
    for i in range(B):
        scores = [(5 * h[i, t] @ outputs.text_feats[i]).exp() for t in range(T)]
        total -= math.log(scores[outputs.positive_index[i]] / sum(scores))
    terms = IntraProductHead().loss(outputs)
    assert terms['loss_intra'].item() == pytest.approx(total / B, rel=1e-5)
    assert 'loss_entropy' not in terms


def test_samples_of_one_product_are_no_negatives(outputs):
    """If all rows are one product, there are no negatives and the loss is 0."""
    same = torch.zeros(B, dtype=torch.int64)
    outputs = replace(outputs, id_hash=same, all_id_hash=same)
    assert ITCHead().loss(outputs)['loss_itc'].item() == 0
    assert InterProductHead().loss(outputs)['loss_inter'].item() == 0


def test_itm_pairs_own_text_with_1_and_a_hard_negative_with_0(outputs):
    head = ITMHead(embed_dims=D)
    h = outputs.instance_feats[range(B), outputs.positive_index]
    similarity = 5 * F.normalize(h, dim=-1) @ outputs.text_feats.T
    negative = draw_hard_negatives(
        similarity, torch.eye(B, dtype=torch.bool), outputs.random_draws
    )
    total = 0
    for i in range(B):
        for text, label in ((outputs.text_feats[i], 1), (outputs.text_feats[negative[i]], 0)):
            logits = head.classifier(h[i] * math.sqrt(D) * text)
            total -= logits.log_softmax(dim=0)[label].item()
    assert head.loss(outputs)['loss_itm'].item() == pytest.approx(total / (2 * B), rel=1e-5)


def test_hard_negatives_follow_the_similarity_and_never_the_own_product():
    similarity = torch.tensor([[9.0, math.log(1), math.log(3), 9.0]]).expand(4000, 4)
    same = torch.tensor([[True, False, False, True]]).expand(4000, 4)
    drawn = draw_hard_negatives(similarity, same, torch.rand(4000, generator=torch.manual_seed(0)))
    assert set(drawn.tolist()) == {1, 2}
    # 3 in 4; the standard error of 4,000 draws is 0.007
    assert (drawn == 2).float().mean().item() == pytest.approx(0.75, abs=0.03)
    for edge in (0.0, 1 - 2**-24):
        drawn = draw_hard_negatives(similarity[:1], same[:1], torch.tensor([edge]))
        assert drawn.item() in (1, 2)


class Deterministic(TorchDispatchMode):
    """Fails at a cumulative sum of floats, whose order differs between runs on a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.cumsum.default, torch.ops.aten.cumprod.default):
            assert not out.is_floating_point(), func
        return out


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_hard_negatives_are_the_same_every_time(dtype):
    """Exactly the inverse of the cumulative distribution, in rational numbers."""
    torch.manual_seed(0)
    similarity, draws = 5 * torch.randn(50, 40, dtype=dtype), torch.rand(50)
    same = torch.rand(50, 40) < 0.2
    with Deterministic():
        drawn = draw_hard_negatives(similarity, same, draws)
    probs = similarity.masked_fill(same, float('-inf')).softmax(dim=1)
    for row, u, index in zip(probs.tolist(), draws.tolist(), drawn.tolist(), strict=True):
        ends = list(accumulate(map(Fraction, row)))
        below, end = ends[index] - Fraction(row[index]), ends[index]
        # a weight is rounded by up to 2^-38, 40 of them stand before the last column
        slack = Fraction(40, 2**37)
        assert below - slack <= Fraction(u) * ends[-1] < end + slack
        assert row[index] > 0


def test_slot_health_by_hand():
    # two tokens, both given to query 1 for 0.75; query 0 wins none
    m = torch.tensor([[[0.25, 0.75], [0.25, 0.75]]])
    health = slot_health(m, torch.tensor([1]))
    assert health['slot_mass'].item() == pytest.approx(0.75)
    assert health['slot_entropy'].item() == pytest.approx(1.0, abs=1e-5)
    assert health['slot_dead'].item() == pytest.approx(0.5)


def test_a_head_of_an_older_version_is_an_error():
    class OldHead(ITCHead):
        def observe(self, outputs):
            pass

    with pytest.raises(TypeError, match=r'pretext_heads.old: OldHead .*remember\(\).*CHANGELOG'):
        PretextHeads(dict(old=dict(type=OldHead)), D)
