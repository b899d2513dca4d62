"""The joint width of a model is written once and reaches all of its parts."""

import pytest
import torch

from eclip_mm.models.embed_dims import takes_embed_dims
from eclip_mm.models.heads import ITMHead, PretextHead
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config

QUEUE = dict(type='MomentumQueue', size=10)


@MODELS.register_module()
class WeighedITMHead(ITMHead):
    """A head of a user, whose arguments are partly those of the class that it extends."""

    def __init__(self, factor: float = 1.0, **kwargs):
        super().__init__(loss_weight=factor, **kwargs)


@MODELS.register_module()
class PlainHead(PretextHead):
    """A head of a user that has no width."""

    def __init__(self, factor: float = 1.0):
        super().__init__()


@pytest.fixture
def config():
    """A model of width 32, which only the model itself names, with a queue."""
    cfg = tiny_model_config()
    cfg['pretext_heads']['inter']['queue'] = dict(QUEUE)
    return cfg


def test_heads_and_queue_get_the_models_width(config):
    config['pretext_heads']['itm'] = dict(type='WeighedITMHead', factor=2.0)
    assert 'embed_dims' not in str(config['pretext_heads'])
    torch.manual_seed(0)
    model = MODELS.build(config)
    assert model.heads['itm'].classifier.in_features == 32
    assert model.heads['inter'].queue.feats.shape == (10, 32)
    for seed in range(2):  # the second step reads what the first has left in the queue
        terms = model(**model.data_preprocessor(fake_batch(seed=seed)), mode='loss')
    assert terms['loss_itm'].isfinite() and terms['loss_inter'].isfinite()


def test_a_config_that_repeats_the_width_is_the_same_model(config):
    """Checkpoints of older versions hold such configs."""
    torch.manual_seed(0)
    short = MODELS.build(config).state_dict()
    config['pretext_heads']['itm']['embed_dims'] = 32
    config['pretext_heads']['inter']['queue']['embed_dims'] = 32
    config['decoder']['embed_dims'] = 32
    torch.manual_seed(0)
    long = MODELS.build(config).state_dict()
    assert list(short) == list(long)
    assert all(torch.equal(short[name], long[name]) for name in short)


@pytest.mark.parametrize(
    'part, path',
    [
        ('pretext_heads.itm', ('pretext_heads', 'itm')),
        ('InterProductHead.queue', ('pretext_heads', 'inter', 'queue')),
        ('decoder', ('decoder',)),
        ('queries', ('queries',)),
        ('negative_queries', ('negative_queries',)),
    ],
)
def test_another_width_is_an_error_that_names_both(config, part, path):
    node = config
    for key in path:
        node = node[key]
    node['embed_dims'] = 16
    message = rf'{part}\.embed_dims=16 contradicts model\.embed_dims=32'
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_a_head_without_a_width_gets_none(config):
    assert not takes_embed_dims(dict(type='PlainHead'))
    assert not takes_embed_dims(dict(type='ITCHead'))
    config['pretext_heads']['mine'] = dict(type='PlainHead')
    assert isinstance(MODELS.build(config).heads['mine'], PlainHead)
    config['pretext_heads']['mine']['embed_dims'] = 32
    with pytest.raises(TypeError, match='embed_dims'):
        MODELS.build(config)


def test_a_head_of_no_known_type_is_mmengines_error(config):
    config['pretext_heads']['mine'] = dict(type='NoSuchHead')
    with pytest.raises(KeyError, match='NoSuchHead'):
        MODELS.build(config)
