"""Losses of projects/capture, scale, vilbert and uniter against numbers by hand and loops."""

import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from eclip_mm.models.pretrain_outputs import PretrainOutputs


@pytest.fixture(scope='module', autouse=True)
def projects(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        yield


def unit_rows(num_rows, dims, seed):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num_rows, dims, generator=g).double(), dim=-1).requires_grad_()


def outputs_of(images, texts, ids, scale=5.0):
    return PretrainOutputs(
        images, texts, id_hash=torch.tensor(ids), logit_scale=torch.tensor(scale).double()
    )


def contrast_by_loops(images, texts, ids, scale, weights=None):
    """-log of the own half's share among all other products' pictures and texts, both ways."""
    total, count = 0, len(ids)
    for own, others in ((images, texts), (texts, images)):
        for i in range(count):
            weight = 1 if weights is None else weights[i]
            negatives = [k for k in range(count) if ids[k] != ids[i]]
            logits = [scale * weight * (own[i] @ others[i])]
            for side in (others, own):
                logits += [scale * weight * (own[i] @ side[k]) for k in negatives]
            total = total - (logits[0] - torch.stack(logits).logsumexp(dim=0)) / (2 * count)
    return total


@pytest.mark.parametrize('max_elements', [8, 2**22])  # a row at a time, all
def test_the_contrast_of_capture_by_loops_value_and_gradient(max_elements):
    from projects.capture.contrast import CrossModalContrastHead

    images, texts, ids = unit_rows(4, 3, 0), unit_rows(4, 3, 1), [7, 8, 9, 8]
    terms = CrossModalContrastHead(max_elements=max_elements).double()(
        outputs_of(images, texts, ids)
    )
    slow = contrast_by_loops(images, texts, ids, 5.0)
    torch.testing.assert_close(terms['loss_clr'], slow)
    found = torch.autograd.grad(terms['loss_clr'], (images, texts))
    torch.testing.assert_close(found, torch.autograd.grad(slow, (images, texts)))


def test_the_contrast_of_capture_by_hand():
    from projects.capture.contrast import CrossModalContrastHead

    images = texts = torch.eye(2)
    terms = CrossModalContrastHead()(outputs_of(images, texts, [1, 2], scale=1.0))
    # own half 1, the other product's two halves 0: log(e + 2) - 1
    assert float(terms['loss_clr']) == pytest.approx(math.log(math.e + 2) - 1)
    assert terms['clr_acc'] == 1


def test_harmony_by_hand():
    from projects.scale.harmony import harmony

    c = 0.6
    feats = torch.tensor([[[1.0, 0.0], [c, 0.8]]])
    total = math.e + math.exp(c)
    same, other = math.e / total, c * math.exp(c) / total
    expected = torch.tensor([[same, other], [other, same]]) / (same + other)
    torch.testing.assert_close(harmony(feats)[0], expected)
    assert harmony(feats).sum(dim=-1).tolist()[0] == pytest.approx([1, 1])
    # modalities that agree count half each, whatever their lengths
    equal = harmony(torch.tensor([[[3.0, 0.0], [1.0, 0.0]]]))
    torch.testing.assert_close(equal, torch.full((1, 2, 2), 0.5))
    opposite = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert harmony(opposite)[0, 0, 1] < 0
    assert harmony(opposite, floor=0.05)[0, 0, 1] == pytest.approx(0.05)


def test_the_harmonised_contrast_by_loops_value_and_gradient():
    from projects.scale.harmony import HarmonisedContrastHead

    images, texts, ids = unit_rows(4, 3, 2), unit_rows(4, 3, 3), [7, 8, 9, 8]
    terms = HarmonisedContrastHead(floor=0.1).double()(outputs_of(images, texts, ids))
    weights = []
    for image, text in zip(images, texts, strict=True):
        c = image @ text / image.norm() / text.norm()
        same, other = c.new_tensor(1).exp(), c.exp()  # the softmax's denominator cancels
        weights.append((c * other / (same + c * other)).clamp(min=0.1))
    slow = contrast_by_loops(images, texts, ids, 5.0, weights)
    torch.testing.assert_close(terms['loss_ssc'], slow)
    torch.testing.assert_close(terms['harmony'], torch.stack(weights).mean().detach())
    assert min(weights) == 0.1 < max(weights)  # of both kinds
    found = torch.autograd.grad(terms['loss_ssc'], (images, texts))
    torch.testing.assert_close(found, torch.autograd.grad(slow, (images, texts)))


def test_the_plan_of_least_cost_is_that_of_all_assignments():
    """With as many words as regions an optimal plan is an assignment; padding moves nothing."""
    from projects.uniter.transport import transport_plan

    g = torch.Generator().manual_seed(0)
    cost = torch.rand(3, 5, 6, generator=g).double()
    words, regions = torch.ones(3, 5).bool(), torch.ones(3, 6).bool()
    words[:, 4:], regions[:, 4:] = False, False
    plan = transport_plan(cost, words, regions, beta=0.5, steps=2000)
    assert (plan[:, 4:] == 0).all() and (plan[:, :, 4:] == 0).all()
    torch.testing.assert_close(plan.sum(dim=2)[:, :4], torch.full((3, 4), 0.25).double())
    torch.testing.assert_close(plan.sum(dim=1)[:, :4], torch.full((3, 4), 0.25).double())
    for row, found in zip(cost, (plan * cost).sum(dim=(1, 2)), strict=True):
        best = min(sum(row[i, j] for i, j in enumerate(p)) / 4 for p in permutations(range(4)))
        assert float(found) == pytest.approx(float(best), rel=1e-3)


def test_the_distance_of_transport_and_its_gradient():
    from projects.uniter.transport import cosine_cost, transport_distance, transport_plan

    words = unit_rows(6, 3, 4).detach().view(2, 3, 3).requires_grad_()
    regions = unit_rows(8, 3, 5).detach().view(2, 4, 3).requires_grad_()
    masks = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool(), torch.ones(2, 4).bool()
    distance = transport_distance(words, regions, *masks)
    plan = transport_plan(cosine_cost(words, regions), *masks)
    slow = torch.stack(
        [
            sum(
                plan[b, i, j] * (1 - F.cosine_similarity(words[b, i], regions[b, j], dim=0))
                for i in range(3)
                for j in range(4)
            )
            for b in range(2)
        ]
    )
    torch.testing.assert_close(distance, slow)
    found = torch.autograd.grad(distance.sum(), (words, regions))
    torch.testing.assert_close(found, torch.autograd.grad(slow.sum(), (words, regions)))
    # each word on its own region costs nothing
    same = torch.eye(3)[None]
    every = torch.ones(1, 3).bool()
    assert float(transport_distance(same, same, every, every)) == pytest.approx(0, abs=1e-3)
