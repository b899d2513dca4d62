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


def test_gaussian_negatives_are_one_draw_of_the_seed():
    source = GaussianNegatives(8, seed=3)
    assert source.draw(4).shape == (4, 8)
    assert torch.equal(source.draw(4), source.draw(4))
    assert torch.equal(GaussianNegatives(8, seed=3).draw(4), source.draw(4))
    assert not torch.equal(GaussianNegatives(8, seed=4).draw(4), source.draw(4))


def test_text_negatives_are_different_products():
    """Five products in the ring, product 2 twice; seeds choose different ones."""
    feats = F.normalize(torch.randn(6, 8), dim=-1)
    ids = torch.tensor([0, 1, 2, 2, 3, 4])
    chosen = []
    for seed in range(10):
        source = TextNegatives(embed_dims=8, seed=seed, size=6)
        source.observe(feats, ids)
        drawn = source.draw(4)
        distance = torch.cdist(drawn, scale_prompts(feats))
        assert distance.amin(dim=1).max() < 1e-3
        products = ids[distance.argmin(dim=1)].tolist()
        assert len(set(products)) == 4
        chosen.append(frozenset(products))
        assert torch.equal(source.draw(4), drawn)
    assert len(set(chosen)) > 1


def test_missing_texts_are_noise():
    source = TextNegatives(embed_dims=400, size=6)
    fresh = source.draw(5)
    assert fresh.shape == (5, 400) and fresh.dtype == torch.float32
    assert (fresh.norm(dim=-1) - 20).abs().max() < 4
    feats = F.normalize(torch.randn(3, 400), dim=-1)
    source.observe(feats, torch.tensor([0, 1, 1]))
    drawn = source.draw(5)
    near = torch.cdist(drawn, scale_prompts(feats)).amin(dim=1) < 1e-2
    assert near.tolist() == [True, True, False, False, False]  # two products, three of noise
    assert torch.equal(source.draw(5), drawn)


def test_the_ring_of_texts_wraps_around_and_is_saved():
    source = TextNegatives(embed_dims=1, size=4)
    for k in range(3):  # 9 texts into 4 places
        source.observe(torch.arange(3 * k, 3 * k + 3).float()[:, None], torch.arange(3) + 3 * k)
    assert source.ring_ids.tolist() == [8, 5, 6, 7]
    assert source.ring_feats.squeeze(1).tolist() == [8, 5, 6, 7]
    other = TextNegatives(embed_dims=1, size=4)
    other.load_state_dict(source.state_dict())
    assert torch.equal(other.draw(3), source.draw(3))


def test_averages_by_hand():
    """Three buckets, momentum 0.5; products 4 and 7 belong to bucket 1, 2 and 5 to bucket 2."""
    source = EMANegatives(embed_dims=2, num_queries=3, momentum=0.5)
    source.observe(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([4, 7, 2]))
    # bucket 1: half of the mean (0.5, 0.5); bucket 2: half of (0.6, 0.8)
    torch.testing.assert_close(
        source.averages, torch.tensor([[0.0, 0.0], [0.25, 0.25], [0.3, 0.4]])
    )
    source.observe(torch.tensor([[0.0, -1.0]]), torch.tensor([5]))
    # bucket 2: 0.5 * (0.3, 0.4) + 0.5 * (0, -1); bucket 1 is not in the batch and stays
    torch.testing.assert_close(
        source.averages, torch.tensor([[0.0, 0.0], [0.25, 0.25], [0.15, -0.3]])
    )
    assert source.num_seen.tolist() == [0, 2, 2]
    # both on the sphere of radius sqrt(2); bucket 0 has seen nothing
    expected = torch.tensor([[1.0, 1.0], [2 / math.sqrt(10), -4 / math.sqrt(10)]])
    torch.testing.assert_close(source.draw(2), expected)


def test_one_step_from_zero_is_the_mean_whatever_the_momentum():
    feats, ids = F.normalize(torch.randn(30, 8), dim=-1), torch.arange(30)
    for momentum in (0.0, 0.9, 0.999):
        source = EMANegatives(embed_dims=8, num_queries=5, momentum=momentum)
        source.observe(feats, ids)
        means = torch.stack([feats[k::5].mean(dim=0) for k in range(5)])
        torch.testing.assert_close(scale_prompts(source.averages), scale_prompts(means))


def test_the_order_of_batches_matters_and_that_within_a_batch_does_not():
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


def test_the_first_averages_that_have_seen_a_product():
    """Buckets 1, 2 and 4 of six have seen one: the rest of five negatives is noise."""
    source = EMANegatives(embed_dims=100, num_queries=6)
    fresh = source.draw(5)
    assert fresh.shape == (5, 100) and fresh.dtype == torch.float32
    text = F.normalize(torch.randn(3, 100), dim=-1)
    source.observe(text, torch.tensor([1, 2, 10]))
    drawn = source.draw(5)
    torch.testing.assert_close(drawn[:3], scale_prompts(text))
    assert torch.cdist(drawn[3:], scale_prompts(text)).min() > 5
    assert (drawn[3:].norm(dim=-1) - 10).abs().max() < 4
    torch.testing.assert_close(source.draw(2), scale_prompts(text[:2]))
    assert torch.equal(source.draw(5), drawn)


def test_averages_are_float32_under_autocast():
    plain, cast = EMANegatives(8, num_queries=3), EMANegatives(8, num_queries=3)
    feats, ids = F.normalize(torch.randn(9, 8), dim=-1), torch.arange(9)
    plain.observe(feats, ids)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast.observe(feats, ids)
    assert torch.equal(plain.averages, cast.averages)


def test_ema_errors_say_what_to_set():
    with pytest.raises(ValueError, match='num_queries=20'):
        EMANegatives(8, num_queries=18).draw(19)
    with pytest.raises(ValueError, match=r'momentum must lie in \[0, 1\), got 1'):
        EMANegatives(8, momentum=1)


OPTIONS = dict(
    gaussian=dict(type='GaussianNegatives'),
    text=dict(type='TextNegatives', size=16, seed=4),
    ema=dict(type='EMANegatives', num_queries=4),
    catalogue=dict(type='CatalogueNegatives', num_queries=6),
)


def give_names(model):
    """Names for a source that takes some, as if of a catalogue of twenty."""
    if model.negative_queries.in_use.takes_names:
        names = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))
        model.negative_queries.in_use.set_names(names)
    return model


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
        assert torch.equal(switched.in_use.draw(3), source.draw(3)), name
    with pytest.raises(KeyError, match="use='emma' is none of .*: catalogue, ema, gaussian, text"):
        SwitchableNegatives(OPTIONS, use='emma', embed_dims=8)


def test_a_model_trains_all_sources_and_predicts_with_one():
    cfg = tiny_model_config(
        negative_queries=dict(type='SwitchableNegatives', use='text', options=OPTIONS)
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    batch = model.data_preprocessor(fake_batch())
    model(**batch, mode='loss')
    model.finish_step()
    feats = {}
    for name in OPTIONS:
        cfg['negative_queries']['use'] = name
        other = MODELS.build(cfg).eval()
        other.load_state_dict(model.state_dict())
        give_names(other)
        samples = other(**batch, mode='predict')
        feats[name] = torch.stack([s.pred_instance_feat for s in samples])
        assert int(other.negative_queries.options.ema.num_seen.sum()) == 6
    for name in ('text', 'gaussian', 'catalogue'):
        assert (feats[name] - feats['ema']).abs().max() > 1e-4


FIELDS = ('pred_instance_feat', 'pred_score_map', 'pred_image_prompt_map')


def predicted(model, batch):
    """What depends on negative queries: name -> (B, ...)."""
    samples = model(**model.data_preprocessor(batch), mode='predict')
    return {name: torch.stack([sample.get(name) for sample in samples]) for name in FIELDS}


def trained_model(use):
    cfg = tiny_model_config(
        negative_queries=dict(type='SwitchableNegatives', use=use, options=OPTIONS)
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    for seed in range(2):
        model(**model.data_preprocessor(fake_batch(seed=seed)), mode='loss')
        model.finish_step()
    return give_names(model.eval())


@pytest.mark.parametrize('use', OPTIONS)
def test_features_do_not_depend_on_the_product_id(use):
    """Retrieval is scored by product_id: other ids, or one id for all, give the same features."""
    model = trained_model(use)
    expected = predicted(model, fake_batch())
    for ids in (('a', 'b', 'c', 'd', 'e', 'f'), ('one',) * 6, ('',) * 6):
        batch = fake_batch()
        for sample, product_id in zip(batch['data_samples'], ids, strict=True):
            sample.set_metainfo(dict(product_id=product_id))
        found = predicted(model, batch)
        for name in FIELDS:
            assert torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize('use', OPTIONS)
def test_features_depend_neither_on_the_batch_nor_on_its_order(use):
    model, batch = trained_model(use), fake_batch()
    expected = predicted(model, batch)
    for rows in ([4, 2, 0], [3]):
        part = dict(
            inputs={name: value[rows] for name, value in batch['inputs'].items()},
            data_samples=[batch['data_samples'][row] for row in rows],
        )
        found = predicted(model, part)
        for name in FIELDS:
            # float32, other blocking of the matrix products
            torch.testing.assert_close(found[name], expected[name][rows], rtol=1e-4, atol=1e-5)
