"""Contrastive losses in tiles are the plain ones, in value and gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eclip_mm.models.heads import InterProductHead, ITCHead, ITMHead
from eclip_mm.models.heads.base import contrast, row_tiles
from eclip_mm.models.losses import InfoNCELoss
from eclip_mm.models.pretrain_outputs import PretrainOutputs

B, T, D = 11, 3, 8


def make_outputs(seed: int = 0) -> tuple[PretrainOutputs, dict]:
    """Outputs in float64, and the leaves that gradients go to; rows 2 and 7 are one product."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    leaves = dict(
        image=draw(B, D),
        text=draw(B, D),
        instance=draw(B, T, D),
        log_scale=torch.tensor(1.2).double(),
    )
    for leaf in leaves.values():
        leaf.requires_grad_()
    ids = torch.arange(B)
    ids[7] = ids[2]
    outputs = PretrainOutputs(
        image_feats=F.normalize(leaves['image'], dim=-1),
        text_feats=F.normalize(leaves['text'], dim=-1),
        id_hash=ids,
        logit_scale=leaves['log_scale'].exp(),
        uniform=torch.rand(B, generator=g),
        instance_feats=leaves['instance'],
        positive_index=torch.randint(T, (B,), generator=g),
        teacher_instance_feats=F.normalize(draw(B, D), dim=-1),
    )
    return outputs, leaves


def terms_and_grads(head) -> tuple[dict, dict]:
    outputs, leaves = make_outputs()
    terms = head.double().loss(outputs)
    sum(v for k, v in terms.items() if 'loss' in k).backward()
    grads = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return terms, {**grads, **{name: p.grad for name, p in head.named_parameters()}}


def assert_same(found: dict, wanted: dict):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if value.dtype == torch.float32:  # accuracies
            assert found[name].item() == pytest.approx(value.item(), abs=1e-6)
            continue
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14, msg=name)


def test_tiles_hold_whole_rows_and_cover_all():
    assert row_tiles(7, 10, 30) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert row_tiles(3, 10, 5) == [slice(0, 1), slice(1, 2), slice(2, 3)]  # one row at least
    assert row_tiles(7, 10, 70) == [slice(0, 7)]


@pytest.mark.parametrize('max_elements', [1, 3 * B, 4 * B + 1, B * B - 1])
@pytest.mark.parametrize('head', [ITCHead, InterProductHead, ITMHead])
def test_heads_in_tiles_are_the_plain_ones(head, max_elements):
    options = dict(embed_dims=D) if head is ITMHead else {}
    results = []
    for size in (B * B, max_elements):
        torch.manual_seed(0)  # of the classifier
        results.append(terms_and_grads(head(max_elements=size, **options)))
    (plain, plain_grads), (tiled, tiled_grads) = results
    assert_same(tiled, plain)
    assert_same(tiled_grads, plain_grads)
    if head is not ITMHead:  # draws by the scale, without gradient
        assert plain_grads['log_scale'].abs() > 1e-3


def test_the_same_product_is_no_negative_in_any_tile():
    """Against the equation, since both ways could forget the mask."""
    outputs, _ = make_outputs()
    loss, acc = contrast(
        InfoNCELoss(), outputs, outputs.image_feats, outputs.text_feats, max_elements=2 * B
    )
    s = (outputs.logit_scale * outputs.image_feats @ outputs.text_feats.T).tolist()
    total, right = 0.0, 0
    for i in range(B):
        kept = [j for j in range(B) if j == i or outputs.id_hash[j] != outputs.id_hash[i]]
        row = torch.tensor([s[i][j] for j in kept], dtype=torch.float64)
        total -= row.log_softmax(dim=0)[kept.index(i)].item()
        best = max(range(B), key=lambda j: s[i][j])  # noqa: B023
        right += int(outputs.id_hash[best] == outputs.id_hash[i])
    assert loss.item() == pytest.approx(total / B, rel=1e-12)
    assert acc.item() == pytest.approx(right / B, rel=1e-6)


def test_a_criterion_with_weights_of_its_own_trains_in_tiles():
    class Margin(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

        def forward(self, logits, targets, ignore):
            signs = torch.full_like(logits, -1.0).scatter(1, targets[:, None], 1.0)
            return F.softplus(-signs * (logits - self.bias)).sum(dim=1).mean()

    found = []
    for size in (B * B, 2 * B):
        outputs, _ = make_outputs()
        criterion = Margin()
        contrast(criterion, outputs, outputs.image_feats, outputs.text_feats, max_elements=size)[
            0
        ].backward()
        found.append(criterion.bias.grad)
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)


def test_no_more_logits_are_kept_than_asked_for():
    """What autograd saves between the passes: the features, no row of logits."""
    outputs, _ = make_outputs()
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: sizes.append(x.numel()) or x, lambda x: x
    ):
        contrast(InfoNCELoss(), outputs, outputs.image_feats, outputs.text_feats, max_elements=B)
        assert not [n for n in sizes if n >= B]
        contrast(InfoNCELoss(), outputs, outputs.image_feats, outputs.text_feats)
        assert B * B in sizes  # the hook sees them where they are
