"""A config takes its tokenizer from the tower."""

import warnings

import pytest
from mmengine.config import Config

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


def test_none_without_a_tower_is_an_error():
    with pytest.raises(KeyError, match='TokenizeText.tokenizer is None.*pretrained_dual'):
        use_tower_tokenizer(config(None, text_encoder=dict(model_type='bert')))
    use_tower_tokenizer(Config(dict(work_dir='x')))
