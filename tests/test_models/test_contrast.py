"""Contrastive losses in tiles have the values and gradients of the plain ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eclip_mm.models.heads import InterProductHead, ITCHead, ITMHead
from eclip_mm.models.heads.base import contrast
from eclip_mm.models.heads.tiles import row_tiles
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
        random_draws=torch.rand(B, generator=g),
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
def test_heads_in_tiles_equal_the_plain_ones(head, max_elements):
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


def test_gradients_that_share_memory_and_autocast():
    """Sums of several parameters have one gradient; a layer computes in bf16 both times."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Parameter(torch.zeros(n)) for n in ([], [], [3]))
            self.layer, self.dtypes = nn.Linear(B, 1), set()

        def forward(self, logits, targets, ignore):
            found = self.layer(logits.float())
            self.dtypes.add(found.dtype)
            return found.float().mean() + self.a + self.b + self.c.sum()

    outputs, _ = make_outputs()
    criterion = Odd()
    with torch.autocast('cpu', torch.bfloat16):
        loss, _ = contrast(
            criterion, outputs, outputs.image_feats, outputs.text_feats, max_elements=2 * B
        )
    criterion.dtypes.clear()
    loss.backward()
    assert criterion.dtypes == {torch.bfloat16}
    for parameter in (criterion.a, criterion.b, criterion.c):
        torch.testing.assert_close(parameter.grad, torch.ones_like(parameter))


@pytest.mark.parametrize('wanting', ['image_feats', 'text_feats', 'logit_scale', None])
def test_gradients_go_where_they_are_wanted_only(wanting):
    """A momentum model's features, a frozen temperature, an evaluation."""
    found = []
    for size in (B * B, 2 * B):
        outputs, _ = make_outputs()
        fields = dict(
            image_feats=outputs.image_feats.detach(),
            text_feats=outputs.text_feats.detach(),
            logit_scale=outputs.logit_scale.detach(),
        )
        if wanting:
            fields[wanting].requires_grad_()
        outputs = PretrainOutputs(**fields, id_hash=outputs.id_hash)
        loss, _ = contrast(
            InfoNCELoss(), outputs, outputs.image_feats, outputs.text_feats, max_elements=size
        )
        assert loss.requires_grad == bool(wanting)
        if wanting:
            loss.backward()
        found.append({name: x.grad for name, x in fields.items() if x.grad is not None})
    assert list(found[0]) == [wanting] * bool(wanting)
    assert_same(*found)


@pytest.mark.slow
def test_a_compiled_head_makes_the_same_tiles():
    torch.compiler.reset()
    outputs, leaves = make_outputs()
    outputs.derive()
    head = ITCHead(max_elements=3 * B)
    head.compile(backend='aot_eager', fullgraph=True)
    terms = head(outputs)
    terms['loss_itc'].backward()
    wanted_terms, wanted = terms_and_grads(ITCHead(max_elements=3 * B))
    assert_same(terms, wanted_terms)
    assert_same({k: x.grad for k, x in leaves.items() if x.grad is not None}, wanted)


@pytest.mark.slow
@pytest.mark.alone
def test_memory_does_not_grow_with_the_number_of_tiles():
    """512 tiles of 1 MiB, in a process of their own.

    With a graph for each tile, small as it was, malloc could not use the memory of one tile for
    the next: 0.50 GiB. A tile needs several times its logits; 30 MiB were measured.
    """
    script = Path(__file__).parents[2] / 'benchmarks/contrastive_memory.py'
    out = subprocess.run(
        [sys.executable, script, '--measure', os.devnull, '--size', '8192', '--dims', '16']
        + ['--max-elements', str(2**18), '--threads', '1'],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert json.loads(out)['peak_above_features_gib'] < 0.15


def test_no_more_logits_are_kept_than_asked_for():
    """What autograd saves between the passes: the features, no row of logits."""
    outputs, _ = make_outputs()
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: sizes.append(x.numel()) or x, lambda x: x
    ):
        contrast(InfoNCELoss(), outputs, outputs.image_feats, outputs.text_feats, max_elements=B)
        assert sorted(sizes) == [1, B * D, B * D]
        contrast(InfoNCELoss(), outputs, outputs.image_feats, outputs.text_feats)
        assert B * B in sizes  # the hook sees them where they are
