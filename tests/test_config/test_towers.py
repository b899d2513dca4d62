"""A config takes its tokenizer from the tower."""

import warnings

import pytest
from mmengine.config import Config

from eclip_mm.checkpoint.metadata import find_tokenizers
from eclip_mm.config.loading import load_config
from eclip_mm.config.towers import use_tower_tokenizer


def config(tokenizer, **model):
    pipeline = [dict(type='TokenizeText', tokenizer=tokenizer)]
    return Config(dict(model=model, train_dataloader=dict(dataset=dict(pipeline=pipeline))))


def found(cfg):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        use_tower_tokenizer(cfg)
    return cfg.train_dataloader.dataset.pipeline[0].tokenizer


@pytest.mark.parametrize(
    'model',
    [
        dict(pretrained_dual='models/clip'),
        dict(pretrained_dual=dict(pretrained='models/clip', allow_download=True)),
        dict(text_encoder=dict(pretrained='models/clip')),
    ],
)
def test_none_is_the_towers(model):
    wanted = dict(type='AutoTokenizer', name_or_path='models/clip')
    assert found(config(None, **model)) == wanted
    assert found(config(dict(wanted), **model)) == wanted  # said twice
    own = dict(type='CatalogueWordPiece', vocab_file='v.txt')
    if 'text_encoder' in model:
        assert found(config(own, **model)) == own
        return
    with pytest.warns(UserWarning, match=r"v\.txt.*'models/clip'.*tokenizer=None"):
        use_tower_tokenizer(config(own, **model))


@pytest.mark.parametrize(
    'encoder, size',
    [
        (dict(model_type='bert', pretrained=None), 30522),
        (dict(config=dict(vocab_size=400)), 400),
    ],
)
def test_none_without_pretrained_weights_is_the_words_of_the_catalogue(encoder, size):
    cfg = config(None, text_encoder=encoder)
    cfg.train_dataloader.dataset.catalogue = 'my/train.parquet'
    wanted = dict(type='CatalogueWordPiece', catalogue='my/train.parquet', vocab_size=size)
    assert found(cfg) == wanted
    inner = cfg.train_dataloader.dataset
    inner.pipeline[0].tokenizer = None
    cfg.train_dataloader.dataset = dict(datasets=[inner])
    use_tower_tokenizer(cfg)
    assert cfg.train_dataloader.dataset.datasets[0].pipeline[0].tokenizer == wanted
    cfg = config(None, text_encoder=encoder)
    cfg.train_dataloader.dataset.catalogue = 's3://bucket/train'
    with pytest.raises(KeyError, match='no catalogue on a local disk'):
        use_tower_tokenizer(cfg)


def test_the_papers_config_trains_from_scratch(repo_root):
    """README's way: it stopped at the tokenizer of bert-base-uncased."""
    path = str(repo_root / 'configs/eclip_vitb16.py')
    cfg = load_config(path)
    tokenizers = [part['tokenizer'] for part in find_tokenizers(cfg._cfg_dict)]
    assert len(tokenizers) >= 3
    assert all(
        t == dict(type='AutoTokenizer', name_or_path='bert-base-uncased') for t in tokenizers
    )
    options = {f'model.{part}_encoder.pretrained': None for part in ('image', 'text')}
    options['train_dataloader.dataset.catalogue'] = 'my/train.parquet'
    cfg = load_config(path, options)
    tokenizers = [part['tokenizer'] for part in find_tokenizers(cfg._cfg_dict)]
    wanted = dict(type='CatalogueWordPiece', catalogue='my/train.parquet', vocab_size=30522)
    assert all(t == wanted for t in tokenizers)


def test_none_without_a_tower_is_an_error():
    with pytest.raises(KeyError, match='TokenizeText.tokenizer is None.*pretrained_dual'):
        use_tower_tokenizer(config(None, text_encoder=dict(model_type='bert')))
    use_tower_tokenizer(Config(dict(work_dir='x')))
