"""A tower that continues from the features of its frozen part."""

import copy

import pytest
import torch

from eclip_mm.models.feature_card import hash_frozen, take_features
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers.towers import IMAGE


def build(model_type: str, freeze: int | str):
    torch.manual_seed(0)
    encoder = MODELS.build(
        dict(
            type='TransformersImageEncoder', model_type=model_type, config=dict(IMAGE[model_type])
        )
    )
    encoder.freeze(freeze)
    return encoder.eval()


@pytest.mark.parametrize('freeze', [1, -1, 'all'])
@pytest.mark.parametrize('model_type', sorted(IMAGE))
def test_features_and_the_layers_above_give_what_pictures_give(model_type, freeze):
    encoder = build(model_type, freeze)
    images = torch.randn(3, 3, 32, 32)
    if model_type.startswith('swin') and freeze != 'all':
        with pytest.raises(ValueError, match="cannot be continued .* model.freeze.image='all'"):
            encoder.take_features((32, 32))
        return
    boundary = encoder.take_features((32, 32))
    features = boundary.below(images)
    assert features.shape[1:] == boundary.feature_shape
    for wanted, found in zip(encoder(images)[:2], encoder(features)[:2], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert encoder(features)[2] == encoder(images)[2]


def test_gradients_of_the_layers_above_are_those_of_pictures():
    encoder = build('efficientnet', 3)
    boundary, images = encoder.take_features((32, 32)), torch.randn(2, 3, 32, 32)

    def gradients(inputs):
        encoder.zero_grad()
        encoder(inputs)[1].square().sum().backward()
        return [p.grad.clone() for p in encoder.parameters() if p.grad is not None]

    wanted = gradients(images)
    assert wanted
    torch.testing.assert_close(gradients(boundary.below(images)), wanted)


def test_a_tower_that_is_trained_has_no_features_to_cache():
    with pytest.raises(ValueError, match='model.freeze.image'):
        build('vit', 0).take_features((32, 32))


def test_the_momentum_model_takes_features_too_and_a_step_is_the_same():
    torch.manual_seed(0)
    model = MODELS.build(tiny_model_config(freeze=dict(image=1))).train()
    batch = model.data_preprocessor(fake_batch())
    twin = copy.deepcopy(model)
    wanted = twin.loss(**batch)
    card = take_features(model, (32, 32))
    images = batch['inputs']['images']
    features = model.network.image_encoder.boundary.below(images.flatten(0, 1))
    batch['inputs']['images'] = features.view(*images.shape[:2], *card.shape)
    found = model.loss(**batch)
    assert {k: v.item() for k, v in found.items() if 'loss' in k} == pytest.approx(
        {k: v.item() for k, v in wanted.items() if 'loss' in k}, rel=1e-4
    )


def test_the_hash_depends_on_frozen_weights_and_on_normalisation_alone():
    model = MODELS.build(tiny_model_config(freeze=dict(image=1)))
    encoder, data = model.network.image_encoder, model.data_preprocessor
    first = hash_frozen(encoder, data)
    with torch.no_grad():
        encoder.layer_groups()[1].modules[0].get_submodule('layernorm_before').weight.add_(1)
    assert hash_frozen(encoder, data) == first
    with torch.no_grad():
        next(iter(encoder.layer_groups()[0].parameters())).add_(1)
    second = hash_frozen(encoder, data)
    assert second != first
    data.mean += 1
    assert hash_frozen(encoder, data) not in (first, second)
