"""The queue of further negatives: its ring by hand, its place in Eq. 8, its way through a run."""

import math

import pytest
import torch

from eclip_mm.models.heads import InterProductHead
from eclip_mm.models.momentum_queue import MomentumQueue
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from eclip_mm.utils.finite import NonFiniteLossError


def rows(*values):
    """Features (G, 2) and identities that are easy to distinguish."""
    ids = torch.tensor(values)
    return torch.stack([ids.float(), -ids.float()], dim=1), ids


def test_it_wraps_around_a_length_that_batches_do_not_divide():
    queue = MomentumQueue(size=5, embed_dims=2)
    held = []
    for batch in ((10, 11), (12, 13), (14, 15), (16, 17)):
        feats, ids = queue.extend(*rows(1))
        assert torch.equal(feats[:, 0], ids.float()) and torch.equal(feats[:, 1], -feats[:, 0])
        held.append(ids.tolist())
        queue.push(*rows(*batch))
    assert held == [[1], [1, 10, 11], [1, 10, 11, 12, 13], [1, 15, 11, 12, 13, 14]]
    assert queue.ids.tolist() == [15, 16, 17, 13, 14]


def test_a_batch_longer_than_the_queue():
    queue = MomentumQueue(size=2, embed_dims=2)
    queue.push(*rows(1, 2, 3))
    assert queue.extend(*rows(9))[1].tolist() == [9, 1, 2]


def test_the_queue_enters_equation_8_without_the_own_product():
    """h = (1, 0); keys of the batch (1, 0), (0, 1); logit scale 2."""
    outputs = PretrainOutputs(
        image_feats=None,
        text_feats=None,
        id_hash=torch.tensor([7, 8]),
        logit_scale=torch.tensor(2.0),
        instance_feats=torch.tensor([[[3.0, 0.0]], [[0.0, 5.0]]]),
        positive_index=torch.tensor([0, 0]),
        teacher_instance_feats=torch.eye(2),
    )
    head = InterProductHead(queue=dict(type='MomentumQueue', size=4), embed_dims=2)
    plain = math.log(1 + math.exp(-2))
    assert head.loss(outputs)['loss_inter'].item() == pytest.approx(plain, rel=1e-6)
    # (1, 0) of product 7 is no negative of row 0; of row 1 it is, at similarity 0, and (-1, 0) of
    # product 9 is one of both, at -1 and 0
    head.queue.push(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([7, 9]))
    first = math.log(1 + math.exp(-2) + math.exp(-4))
    second = math.log(1 + 3 * math.exp(-2))
    terms = head.loss(outputs)
    assert terms['loss_inter'].item() == pytest.approx((first + second) / 2, rel=1e-6)
    assert terms['inter_acc'] == 1
    head.max_elements = 4  # a row at a time
    tiled = head.loss(outputs)['loss_inter']
    assert tiled.item() == pytest.approx((first + second) / 2, rel=1e-6)


def build():
    cfg = tiny_model_config()
    cfg['pretext_heads']['inter']['queue'] = dict(type='MomentumQueue', size=10)
    torch.manual_seed(0)
    return MODELS.build(cfg)


def step(model, seed):
    terms = model(**model.data_preprocessor(fake_batch(seed=seed)), mode='loss')
    terms['loss_inter'].backward()
    model.finish_step()
    return terms['loss_inter'].detach()


def test_it_fills_after_the_step_and_travels_with_the_checkpoint():
    model = build()
    queue = model.heads['inter'].queue
    for seed in range(2):  # the second backward pass reads what the push must not overwrite
        step(model, seed)
    assert queue.num_seen == 12
    assert queue.feats.norm(dim=1).tolist() == pytest.approx([1.0] * 10, abs=1e-5)
    other = build()
    other.load_state_dict(model.state_dict())
    assert torch.equal(step(other, 2), step(model, 2))
    other.load_state_dict(model.state_dict())
    other.heads['inter'].queue.clear()
    assert step(other, 3) < step(model, 3)  # fewer negatives


def test_a_step_that_is_thrown_away_leaves_nothing_in_it():
    model = build()
    with torch.no_grad():
        model.heads['itm'].classifier.weight.fill_(float('nan'))
    with pytest.raises(NonFiniteLossError):
        step(model, 0)
    assert model.heads['inter'].queue.num_seen == 0


def test_a_queue_without_places_is_refused():
    with pytest.raises(ValueError, match='at least 1'):
        MomentumQueue(size=0, embed_dims=2)
