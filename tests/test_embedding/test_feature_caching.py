"""From a config to a filled cache, and training from it."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from eclip_mm.apis import load_config_and_model, predict_items
from eclip_mm.config.feature_cache import cache_pictures, plain_pipeline, use_feature_cache
from eclip_mm.datasets.collate import collate_products, first_pictures
from eclip_mm.datasets.feature_cache import CacheError, CacheReader
from eclip_mm.embedding import feature_caching
from eclip_mm.embedding.feature_caching import CacheJob, fill_cache
from eclip_mm.engine import FeatureCacheHook
from eclip_mm.models.feature_card import take_features
from eclip_mm.registry import DATASETS, MODELS
from eclip_mm.testing import tiny_model_config
from helpers.catalogues import damage_pictures, encode, make_rows, write_rows

WORDS = dict(type='CatalogueWordPiece', vocab_size=60)


@pytest.fixture
def cfg(tmp_path) -> Config:
    """A tiny model with a frozen first layer, on six products with two pictures each."""
    init_default_scope('eclip_mm')
    rows = make_rows(6)
    rows[5]['images'][0]['bytes'] = b'<html>not a picture</html>'
    catalogue = str(write_rows(rows, tmp_path / 'train.parquet'))
    texts = dict(type='TokenizeText', tokenizer=dict(WORDS, catalogue=catalogue), max_length=16)
    train = [
        dict(type='LoadProductImages'),
        dict(type='RandomResizedCrop', size=32, scale=(0.3, 1.0)),
        texts,
        dict(type='PackProductInputs'),
    ]
    test = [train[0], dict(type='Resize', size=32), *train[2:]]
    images = dict(type='ProductImageDataset', catalogue=catalogue, pipeline=test)
    return Config(
        dict(
            model=tiny_model_config(freeze=dict(image=1)),
            feature_cache=dict(folder=str(tmp_path / 'cache'), views=3),
            train_dataloader=dict(
                dataset=dict(type='ProductDataset', catalogue=catalogue, pipeline=train)
            ),
            val_dataloader=dict(dataset=images),
            test_dataloader=dict(dataset=copy.deepcopy(images)),
        )
    )


def build(cfg) -> torch.nn.Module:
    torch.manual_seed(0)  # the tower has no file: the same weights each time
    return MODELS.build(copy.deepcopy(cfg.model.to_dict()))


def open_job(cfg) -> CacheJob:
    torch.manual_seed(0)
    return CacheJob(cfg)


def batch_of(cfg, name: str, indices) -> dict:
    dataset = DATASETS.build(copy.deepcopy(cfg[name].dataset.to_dict()))
    return collate_products([dataset[k] for k in indices])


def test_training_from_the_cache_is_training_from_the_same_views(cfg):
    job = open_job(cfg)
    assert job.count() == (12, 12 * 3 + 12)  # of one catalogue; validation and test are one
    counts = list(fill_cache(job, batch_size=5))
    assert tuple(map(sum, zip(*counts, strict=True))) == (11 * 4, 4, 0)
    assert list(fill_cache(job)) == [(0, 0, 0)] * 24  # nothing is left to do

    plain, cached = copy.deepcopy(cfg), copy.deepcopy(cfg)
    cache_pictures(plain, folder=None)
    use_feature_cache(cached)
    assert cached.custom_hooks == [dict(type='FeatureCacheHook', folder=cfg.feature_cache.folder)]
    model = build(cfg)
    card = take_features(model, (32, 32))
    for name in ('train_dataloader', 'val_dataloader'):
        for epoch in range(3):
            rows = range(6 * epoch, 6 * epoch + 5)
            wanted, found = batch_of(plain, name, rows), batch_of(cached, name, rows)
            assert found['inputs']['images'].shape[2:] == card.shape
            assert found['inputs']['images'].dtype == torch.float16
            torch.testing.assert_close(found['inputs']['input_ids'], wanted['inputs']['input_ids'])
            twins = copy.deepcopy(model), copy.deepcopy(model)
            for one in twins:
                take_features(one, (32, 32))
            if name == 'val_dataloader':
                feats = [
                    one.eval()(**one.data_preprocessor(batch))[0]
                    for one, batch in zip(twins, (wanted, found), strict=True)
                ]
                # the features have 11 bits; what is above adds no large factor
                torch.testing.assert_close(feats[1], feats[0], rtol=0, atol=2**-9)
                continue
            losses = [
                one.train().loss(**one.data_preprocessor(batch))
                for one, batch in zip(twins, (wanted, found), strict=True)
            ]
            for key in (key for key in losses[0] if 'loss' in key):
                assert losses[1][key].item() == pytest.approx(losses[0][key].item(), rel=2**-8)


def test_a_killed_run_is_continued_by_several_processes(cfg):
    job = open_job(cfg)
    run = fill_cache(job, batch_size=2)
    while not next(run)[0]:
        pass
    done = len(CacheReader(cfg.feature_cache.folder))
    assert 0 < done < 48
    for part in range(3):  # the first run holds its files open, as a killed one leaves them
        list(fill_cache(job, part, 3, batch_size=4))
    reader = CacheReader(cfg.feature_cache.folder)
    assert len(reader) == 48
    again = open_job(cfg)
    (pictures,) = [views for views in [list(again.views(None, 0, 1, 0))]]
    for view in (view for views in pictures for view in views if view.image is not None):
        torch.testing.assert_close(
            torch.from_numpy(reader.read(view.key)[0].copy()).float(),
            torch.from_numpy(again.features([view.image])[0]),
            rtol=2**-10,
            atol=2**-14,
        )


def test_other_weights_another_layer_or_a_trained_tower_are_refused(cfg):
    list(fill_cache(open_job(cfg)))
    hook = FeatureCacheHook(cfg.feature_cache.folder)
    runner = type('Runner', (), {})()
    runner.model = build(cfg)
    hook.before_train(runner)  # these weights are right
    with torch.no_grad():
        next(runner.model.network.image_encoder.parameters()).add_(0.1)
    with pytest.raises(CacheError, match='weights is'):
        hook.before_test(runner)
    cfg.model['freeze']['image'] = 'all'
    runner.model = build(cfg)
    with pytest.raises(CacheError, match="boundary is 'embeddings', wanted is 'all'"):
        hook.before_val(runner)
    cfg.model['freeze']['image'] = 0
    runner.model = build(cfg)
    with pytest.raises(ValueError, match='only be cached of a frozen tower'):
        hook.before_train(runner)


def test_weights_are_compared_once_and_again_when_they_change(cfg, monkeypatch):
    list(fill_cache(open_job(cfg)))
    calls = []
    monkeypatch.setattr(
        'eclip_mm.engine.feature_cache_hook.take_features',
        lambda *args: calls.append(args) or take_features(*args),
    )
    hook, runner = FeatureCacheHook(cfg.feature_cache.folder), type('Runner', (), {})()
    runner.model = build(cfg)
    for _ in range(2):
        hook.before_train(runner)
        hook.before_val(runner)
    assert len(calls) == 1
    runner.model.load_state_dict(runner.model.state_dict())
    hook.before_test(runner)
    runner.model = build(cfg)
    hook.before_test(runner)
    assert len(calls) == 3


def test_a_sharded_model_is_refused(cfg):
    list(fill_cache(open_job(cfg)))
    runner = type('Runner', (), {})()
    runner.model = build(cfg)
    runner.model.unshard = runner.model.reshard = lambda: None
    with pytest.raises(CacheError, match='ShardedRunner cannot read a feature cache'):
        FeatureCacheHook(cfg.feature_cache.folder).before_train(runner)


@pytest.mark.parametrize('kind', ['MyTextEncoder', 'TransformersTextEncoder'])
def test_only_text_encoders_that_can_remember_are_asked_to(cfg, kind):
    cfg.model['freeze']['text'] = 'all'
    cfg.model.text_encoder.type = kind
    use_feature_cache(cfg)
    assert ('remember' in cfg.model.text_encoder) == (kind == 'TransformersTextEncoder')
    del cfg.model['text_encoder']
    use_feature_cache(cfg)


def test_pictures_of_two_sizes_are_refused_before_anything_is_computed(cfg):
    cfg.val_dataloader.dataset.pipeline[1].size = 40
    with pytest.raises(CacheError, match=r'\(32, 32\) and \(40, 40\)'):
        open_job(cfg)


def test_a_wrapped_pipeline_is_found_again(cfg):
    wanted = copy.deepcopy(cfg.train_dataloader.dataset.pipeline)
    use_feature_cache(cfg)
    assert [t.type for t in cfg.train_dataloader.dataset.pipeline] == [
        'CachedPictures',
        'TokenizeText',
        'PackProductInputs',
    ]
    assert cfg.train_dataloader.dataset.pipeline[0].views == 3
    assert cfg.test_dataloader.dataset.pipeline[0].views == 1
    assert plain_pipeline(cfg.train_dataloader.dataset.pipeline) == wanted
    cfg.feature_cache.vews = 3
    with pytest.raises(KeyError, match='vews'):
        use_feature_cache(cfg)


def test_a_stream_gives_its_rows_to_the_cache(cfg):
    cfg.train_dataloader.dataset.type = 'ProductStream'
    assert open_job(cfg).count() == (12, 48)


def test_a_stream_trains_from_the_cache(cfg):
    list(fill_cache(open_job(cfg)))
    cfg.train_dataloader.dataset.update(
        type='ProductStream', batch_size=3, num_shards=1, shuffle_rows=6, num_virtual_workers=1
    )
    plain = copy.deepcopy(cfg)
    cache_pictures(plain, folder=None)
    use_feature_cache(cfg)
    model = build(cfg)
    take_features(model, (32, 32))
    batches = []
    for one in (plain, cfg):
        samples = list(DATASETS.build(copy.deepcopy(one.train_dataloader.dataset.to_dict())))
        assert len(samples) == 6
        batches.append(collate_products(samples))
    wanted, found = batches
    assert found['inputs']['images'].dtype == torch.float16
    torch.testing.assert_close(found['inputs']['input_ids'], wanted['inputs']['input_ids'])
    features, pictures = (model.data_preprocessor(b)['inputs']['images'] for b in (found, wanted))
    below = model.network.image_encoder.boundary.below(pictures.flatten(0, 1))
    torch.testing.assert_close(features.flatten(0, 1), below, rtol=2**-10, atol=2**-14)


@pytest.fixture
def prompted(cfg):
    """Evaluation with image prompts, of which the first of two products are broken."""
    rows = make_rows(3, sources=('photo', 'shop', 'shop', 'shop'))
    for broken in (rows[0]['images'][1:2], rows[1]['images'][1:3], rows[2]['images'][:1]):
        for image in broken:
            image['bytes'] = b'<html>not a picture</html>'
    path = str(write_rows(rows, Path(cfg.feature_cache.folder).parent / 'prompts.parquet'))
    cfg.pop('train_dataloader')
    for name in ('val_dataloader', 'test_dataloader'):
        cfg[name].dataset.update(catalogue=path, sources=['photo'], prompt_sources=['shop'])
    return cfg


@pytest.mark.parametrize('twice', [False, True])
def test_the_prompts_behind_a_broken_one_are_in_the_cache(prompted, twice):
    cfg = prompted
    job = open_job(cfg)
    assert job.count() == (6, 6)
    filling = fill_cache(job)
    if twice:  # the rest is found although the broken one is known already
        while not next(filling)[1]:
            pass
        filling.close()
        filling = fill_cache(open_job(cfg))
    list(filling)
    plain = copy.deepcopy(cfg)
    cache_pictures(plain, folder=None)
    use_feature_cache(cfg)
    wanted, found = (batch_of(c, 'test_dataloader', range(3)) for c in (plain, cfg))
    ids = [sample.image_ids for sample in found['data_samples']]
    assert ids[:2] == [('p0#0', 'p0#2'), ('p1#0', 'p1#3')]
    assert ids == [sample.image_ids for sample in wanted['data_samples']]


def test_counting_reads_no_picture_and_the_proposed_views_fit(cfg, monkeypatch):
    job = open_job(cfg)
    monkeypatch.setattr('eclip_mm.datasets.catalogue.Catalogue.load', None)
    for views in (1, 2, 5):
        size = (12 * views + 12) * job.card.num_bytes  # validation has one view
        assert job.views_that_fit(size) == job.views_that_fit(size + 100) == views
    assert job.views_that_fit(24 * job.card.num_bytes - 1) == 0


def test_the_weights_of_load_from_are_those_of_the_cache(cfg, tmp_path):
    model = build(cfg)
    with torch.no_grad():
        next(model.network.image_encoder.parameters()).add_(0.1)
    cfg.load_from = str(tmp_path / 'start.pth')
    torch.save(dict(state_dict=model.state_dict()), cfg.load_from)
    list(fill_cache(open_job(cfg)))
    runner = type('Runner', (), {})()
    runner.model, hook = model, FeatureCacheHook(cfg.feature_cache.folder)
    hook.before_train(runner)
    runner.model = build(cfg)
    with pytest.raises(CacheError, match='--checkpoint FILE'):
        hook.before_train(runner)


def test_a_dumped_config_predicts_from_pictures(cfg, tmp_path):
    model = build(cfg)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'last.pth')
    use_feature_cache(cfg)  # there is no cache: pictures that are new are not in one either
    cfg.dump(tmp_path / 'config.py')
    with pytest.warns(UserWarning, match='has no tokenizer'):
        found, model = load_config_and_model(
            str(tmp_path / 'config.py'), str(tmp_path / 'last.pth')
        )
    dataset = DATASETS.build(found.test_dataloader.dataset)
    assert len(list(predict_items(model, dataset, range(3)))) == 3


def test_the_same_picture_of_two_products_is_stored_once(cfg, tmp_path):
    rows = make_rows(3)
    for row in rows:
        row['images'][0]['bytes'] = encode(torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())
    path = str(write_rows(rows, tmp_path / 'shared.parquet'))
    cfg.train_dataloader.dataset.catalogue = path
    for name in ('val_dataloader', 'test_dataloader'):
        cfg.pop(name)
    job = open_job(cfg)
    assert job.count() == (6, 18)
    assert sum(stored for stored, *_ in fill_cache(job)) == 12


def test_a_row_group_that_cannot_be_read_costs_its_products(cfg, monkeypatch):
    catalogue = Path(cfg.train_dataloader.dataset.catalogue)
    write_rows(make_rows(6), catalogue)
    damage_pictures(catalogue, 1)
    logged = []
    monkeypatch.setattr(feature_caching, 'print_log', lambda text, *_: logged.append(text))
    counts = list(fill_cache(open_job(cfg)))
    # of 6 products with 3 views and one of evaluation each, and 2 pictures a product
    assert tuple(map(sum, zip(*counts, strict=True))) == (6 * 4, 0, 3 + 6)
    assert len(logged) == 1 and 'row group 1, rows 4 to 6, cannot be read' in logged[0]
    use_feature_cache(cfg)
    batch = batch_of(cfg, 'train_dataloader', range(6))
    found = {sample.product_id for sample in batch['data_samples']}
    assert found <= {'p0', 'p1', 'p2'} and len(batch['data_samples']) == 6


def test_a_catalogue_of_broken_row_groups_is_named(cfg):
    catalogue = Path(cfg.train_dataloader.dataset.catalogue)
    for group in (0, 1):
        damage_pictures(catalogue, group)
    with pytest.raises(CacheError, match='no picture can be decoded.*row group 0, rows 1 to 3'):
        open_job(cfg)


def test_evaluation_from_the_cache_shows_the_pictures(cfg):
    list(fill_cache(open_job(cfg)))
    plain = copy.deepcopy(cfg)
    use_feature_cache(cfg)
    wanted, found = (batch_of(c, 'test_dataloader', range(3)) for c in (plain, cfg))
    assert found['inputs']['images'].dtype == torch.float16
    for batch in (wanted, found):
        pictures = first_pictures(batch['inputs'])
        torch.testing.assert_close(pictures, wanted['inputs']['images'][:, 0])
    assert first_pictures(batch_of(cfg, 'train_dataloader', range(2))['inputs']) is None
