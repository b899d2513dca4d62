"""Learning rates per layer, by hand."""

import re

import pytest
import torch
from torch import nn

from eclip_mm.engine import LayerDecayOptimWrapperConstructor
from eclip_mm.registry import MODELS


def model(model_type='vit'):
    tower = dict(
        hidden_size=8, num_hidden_layers=3, num_attention_heads=2, image_size=16, patch_size=8
    )
    net = nn.Module()
    net.backbone = MODELS.build(
        dict(type='TransformersImageEncoder', model_type=model_type, config=tower)
    )
    net.decoder = nn.Linear(8, 8)
    net.head = nn.Linear(8, 2)
    return net


def constructor(**paramwise):
    cfg = dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05))
    return LayerDecayOptimWrapperConstructor(cfg, paramwise)


@pytest.mark.parametrize('model_type', ['vit', 'dinov2'])
def test_rates_by_hand(model_type):
    net = model(model_type)
    scales = constructor(decay_rate=0.5, lr_mults={'backbone.': 0.1, 'decoder.': 0.2}).lr_scales(
        net
    )
    for name, scale in scales.items():
        layer = re.search(r'\.layers?\.(\d)\.', name)
        if layer:
            expected = 0.1 / 2 ** (2 - int(layer[1]))
        elif name.startswith('backbone.'):
            expected = 0.1 / 8 if 'embeddings' in name else 0.1
        else:
            expected = dict(decoder=0.2, head=1.0)[name.split('.')[0]]
        assert scale == pytest.approx(expected), name
    assert len(scales) == sum(p.requires_grad for p in net.parameters())


def test_groups_hold_every_parameter_once():
    net = model()
    optimizer = constructor(decay_rate=0.5)(net).optimizer
    held = [p for group in optimizer.param_groups for p in group['params']]
    assert sorted(map(id, held)) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    rates = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    decays = {
        id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']
    }
    first = net.backbone.model.layers[0]
    assert rates[id(first.mlp.fc1.weight)] == pytest.approx(1e-2 / 4)
    assert rates[id(net.head.weight)] == 1e-2 and decays[id(net.head.weight)] == 0.05
    assert decays[id(net.head.bias)] == decays[id(first.mlp.fc1.bias)] == 0.0
    assert isinstance(optimizer, torch.optim.AdamW)


def test_what_matches_nothing_is_an_error():
    with pytest.raises(KeyError, match="no trained parameter begins with 'neck.'"):
        constructor(lr_mults={'neck.': 0.1})(model())
    with pytest.raises(KeyError, match='unknown keys'):
        constructor(decay=0.5)
    with pytest.raises(ValueError, match='decay_rate'):
        constructor(decay_rate=1.5)


def test_layers_of_a_pyramid_count_through_its_stages():
    net = nn.Module()
    config = dict(hidden_sizes=[8, 8, 8, 8], depths=[1, 2, 1, 1])
    net.backbone = MODELS.build(
        dict(type='TransformersImageEncoder', model_type='convnext', config=config)
    )
    net.backbone.freeze(1)  # embeddings
    scales = constructor(decay_rate=0.5).lr_scales(net)
    prefix = 'backbone.model.encoder.stages'
    for name, power in {
        f'{prefix}.0.layers.0.dwconv.weight': 4,
        f'{prefix}.1.downsampling_layer.1.weight': 3,
        f'{prefix}.1.layers.0.dwconv.weight': 3,
        f'{prefix}.1.layers.1.dwconv.weight': 2,
        f'{prefix}.3.layers.0.dwconv.weight': 0,
        'backbone.model.layernorm.weight': 0,
    }.items():
        assert scales[name] == 0.5**power, name
    assert not any('embeddings' in name for name in scales)  # no rate, no optimiser state


def test_an_encoder_without_groups_is_an_error():
    with pytest.raises(KeyError, match="encoder='decoder.' has no encoder with `layer_groups`"):
        constructor(decay_rate=0.5, encoder='decoder.')(model())
