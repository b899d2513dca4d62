"""Where the negative prompts of the transfer stage come from."""

import math

import pytest
import torch
import torch.nn.functional as F

from eclip_mm.models.decoders import (
    EMANegatives,
    GaussianNegatives,
    SwitchableNegatives,
    TextNegatives,
    scale_prompts,
)
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config


def test_gaussian_negatives_belong_to_the_product():
    source, ids = GaussianNegatives(8, seed=3), torch.arange(2)
    both = source(['a', 'b'], ids, 4)
    assert torch.equal(source(['b'], ids[1:], 4)[0], both[1])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(GaussianNegatives(8, seed=4)(['a'], ids[:1], 4)[0], both[0])


def test_text_negatives_are_different_other_products():
    """Five products in the ring, product 2 twice: its own text is never drawn."""
    source = TextNegatives(embed_dims=8, size=6)
    feats = torch.nn.functional.normalize(torch.randn(6, 8), dim=-1)
    ids = torch.tensor([0, 1, 2, 2, 3, 4])
    source.observe(feats, ids)
    for name in 'abcdefgh':
        drawn = source([name], torch.tensor([2]), 4)[0]
        found = [int((scale_prompts(feats) - q).abs().sum(dim=1).argmin()) for q in drawn]
        assert sorted(ids[found].tolist()) == [0, 1, 3, 4]
    # fewer than asked for: noise fills up, the same for the same product
    short = source(['a'], torch.tensor([2]), 7)
    assert short.shape == (1, 7, 8)
    assert torch.equal(short, source(['a'], torch.tensor([2]), 7))


def test_the_ring_of_texts_wraps_around_and_is_saved():
    source = TextNegatives(embed_dims=1, size=4)
    for k in range(3):  # 9 texts into 4 places
        source.observe(torch.arange(3 * k, 3 * k + 3).float()[:, None], torch.arange(3) + 3 * k)
    assert source.ring_ids.tolist() == [8, 5, 6, 7]
    assert source.ring_feats.squeeze(1).tolist() == [8, 5, 6, 7]
    other = TextNegatives(embed_dims=1, size=4)
    other.load_state_dict(source.state_dict())
    assert torch.equal(other(['a'], torch.tensor([0]), 3), source(['a'], torch.tensor([0]), 3))


def test_averages_by_hand():
    """Three shares, momentum 0.5, two batches; products 4 and 7 have share 1, 2 has share 2."""
    source = EMANegatives(embed_dims=2, num_queries=3, momentum=0.5)
    source.observe(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([4, 7, 2]))
    # share 1: half of the mean (0.5, 0.5); share 2: half of (0.6, 0.8)
    torch.testing.assert_close(
        source.averages, torch.tensor([[0.0, 0.0], [0.25, 0.25], [0.3, 0.4]])
    )
    source.observe(torch.tensor([[0.0, -1.0]]), torch.tensor([5]))
    # share 2: 0.5 * (0.3, 0.4) + 0.5 * (0, -1); share 1 is not in the batch and stays
    torch.testing.assert_close(
        source.averages, torch.tensor([[0.0, 0.0], [0.25, 0.25], [0.15, -0.3]])
    )
    assert source.num_seen.tolist() == [0, 2, 2]
    # a product of share 0 gets both others on the sphere of radius sqrt(2)
    drawn = source(['a'], torch.tensor([9]), 2)[0]
    expected = torch.tensor([[1.0, 1.0], [2 / math.sqrt(10), -4 / math.sqrt(10)]])
    torch.testing.assert_close(drawn[drawn[:, 1].argsort(descending=True)], expected)


def test_one_step_from_zero_is_the_mean_whatever_the_momentum():
    feats, ids = F.normalize(torch.randn(30, 8), dim=-1), torch.arange(30)
    for momentum in (0.0, 0.9, 0.999):
        source = EMANegatives(embed_dims=8, num_queries=5, momentum=momentum)
        source.observe(feats, ids)
        means = torch.stack([feats[k::5].mean(dim=0) for k in range(5)])
        torch.testing.assert_close(scale_prompts(source.averages), scale_prompts(means))


def test_the_order_within_a_batch_does_not_matter_that_of_batches_does():
    feats, ids = F.normalize(torch.randn(24, 8), dim=-1), torch.arange(24)
    ordered, shuffled, late = (EMANegatives(8, num_queries=4, momentum=0.5) for _ in range(3))
    order = torch.randperm(24)
    for start in (0, 12):
        rows = slice(start, start + 12)
        ordered.observe(feats[rows], ids[rows])
        mixed = order[(order >= start) & (order < start + 12)]
        shuffled.observe(feats[mixed], ids[mixed])
    late.observe(feats[12:], ids[12:])
    late.observe(feats[:12], ids[:12])
    torch.testing.assert_close(ordered.averages, shuffled.averages)
    assert (ordered.averages - late.averages).abs().max() > 1e-2


def test_a_products_own_average_is_left_out():
    source = EMANegatives(embed_dims=8, num_queries=6)
    source.observe(F.normalize(torch.randn(60, 8), dim=-1), torch.arange(60))
    averages = scale_prompts(source.averages)
    for own in range(6):
        drawn = source(['a'], torch.tensor([own + 6]), 5)[0]
        found = torch.cdist(drawn, averages).argmin(dim=1).tolist()
        assert sorted(found) == [k for k in range(6) if k != own]
        assert torch.cdist(drawn, averages).amin(dim=1).max() < 1e-3


def test_noise_fills_up_what_was_not_seen():
    source = EMANegatives(embed_dims=100, num_queries=4)
    ids = torch.tensor([0, 1])
    fresh = source(['a', 'b'], ids, 3)
    assert fresh.shape == (2, 3, 100) and fresh.dtype == torch.float32
    assert not torch.equal(fresh[0], fresh[1])
    assert torch.equal(fresh[1:], source(['b'], ids[1:], 3))  # whatever else is in the batch
    text = F.normalize(torch.randn(1, 100), dim=-1)
    source.observe(text, torch.tensor([2]))
    drawn = source(['a', 'b'], ids, 3)
    for row in drawn:
        torch.testing.assert_close(row[0], scale_prompts(text[0]))
        assert (row[1:] - row[0]).norm(dim=-1).min() > 5
    # the one share that was seen is the product's own: noise alone
    assert (source(['c'], torch.tensor([2]), 3)[0] - 10 * text).norm(dim=-1).min() > 5


def test_averages_are_float32_under_autocast():
    plain, cast = EMANegatives(8, num_queries=3), EMANegatives(8, num_queries=3)
    feats, ids = F.normalize(torch.randn(9, 8), dim=-1), torch.arange(9)
    plain.observe(feats, ids)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast.observe(feats, ids)
    assert torch.equal(plain.averages, cast.averages)


def test_ema_errors_say_what_to_set():
    with pytest.raises(ValueError, match='num_queries=20'):
        EMANegatives(8, num_queries=19)(['a'], torch.tensor([0]), 19)
    with pytest.raises(ValueError, match=r'momentum must lie in \[0, 1\), got 1'):
        EMANegatives(8, momentum=1)


OPTIONS = dict(
    gaussian=dict(type='GaussianNegatives'),
    text=dict(type='TextNegatives', size=16, seed=4),
    ema=dict(type='EMANegatives', num_queries=4),
)


def test_one_checkpoint_serves_every_source():
    """Each source of the composite gives what it would give alone with the same training."""
    feats, ids = F.normalize(torch.randn(12, 8), dim=-1), torch.arange(12)
    trained = SwitchableNegatives(OPTIONS, use='text', embed_dims=8, seed=3)
    trained.observe(feats, ids)
    alone = dict(
        gaussian=GaussianNegatives(8, seed=3),
        text=TextNegatives(8, seed=4, size=16),
        ema=EMANegatives(8, seed=3, num_queries=4),
    )
    for name, source in alone.items():
        source.observe(feats, ids)
        switched = SwitchableNegatives(OPTIONS, use=name, embed_dims=8, seed=3)
        switched.load_state_dict(trained.state_dict())
        expected = source(['a', 'b'], ids[:2], 3)
        assert torch.equal(switched(['a', 'b'], ids[:2], 3), expected), name
    with pytest.raises(KeyError, match="use='emma' is none of .*: ema, gaussian, text"):
        SwitchableNegatives(OPTIONS, use='emma', embed_dims=8)


def test_a_model_trains_them_all_and_predicts_with_the_chosen():
    cfg = tiny_model_config(
        negative_queries=dict(type='SwitchableNegatives', use='text', options=OPTIONS)
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    batch = model.data_preprocessor(fake_batch())
    model(**batch, mode='loss')
    feats = {}
    for name in OPTIONS:
        cfg['negative_queries']['use'] = name
        other = MODELS.build(cfg).eval()
        other.load_state_dict(model.state_dict())
        samples = other(**batch, mode='predict')
        feats[name] = torch.stack([s.pred_instance_feat for s in samples])
        assert int(other.negative_queries.options.ema.num_seen.sum()) == 6
    assert (feats['text'] - feats['ema']).abs().max() > 1e-4
    assert (feats['gaussian'] - feats['ema']).abs().max() > 1e-4
