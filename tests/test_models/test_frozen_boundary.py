"""A tower that continues from the features of its frozen part."""

import copy

import pytest
import torch

from eclip_mm.models.feature_card import hash_frozen, take_features
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers.towers import IMAGE


def build(model_type: str, freeze: int | str, config: dict | None = None, **options):
    torch.manual_seed(0)
    encoder = MODELS.build(
        dict(
            type='TransformersImageEncoder',
            model_type=model_type,
            config={**IMAGE[model_type], **(config or {})},
            **options,
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


@pytest.mark.parametrize(
    ('model_type', 'option'),
    [
        ('vit', dict(config=dict(hidden_act='relu'))),
        ('vit', dict(config=dict(layer_norm_eps=1e-3))),
        ('efficientnet', dict(config=dict(hidden_act='relu'))),
        ('efficientnet', dict(conv_padding='reflect')),
    ],
)
def test_the_hash_depends_on_the_architecture(model_type, option):
    data = MODELS.build(tiny_model_config()).data_preprocessor
    plain, same, other = build(model_type, 1), build(model_type, 1), build(model_type, 1, **option)
    assert hash_frozen(plain, data) == hash_frozen(same, data)
    assert hash_frozen(plain, data) != hash_frozen(other, data)


def test_a_tower_from_a_folder_and_from_a_checkpoint_has_one_hash(tmp_path):
    data = MODELS.build(tiny_model_config()).data_preprocessor
    first = build('vit', 1)
    first.model.config.an_old_field = 3  # of another program
    first.model.save_pretrained(tmp_path)
    config = dict(type='TransformersImageEncoder', pretrained=str(tmp_path))
    loaded = MODELS.build(config)
    loaded.freeze(1)
    assert hash_frozen(loaded, data) == hash_frozen(first, data)


def test_features_are_of_whole_patches_too():
    with pytest.raises(ValueError, match='36 x 32 pixels do not consist of whole patches'):
        build('vit', 1).take_features((36, 32))


@pytest.mark.parametrize('freeze', [1, 'all'])
def test_a_compiled_model_is_not_asked_for_features(freeze):
    encoder = build('vit', freeze)
    boundary = encoder.take_features((32, 32))

    def compiled(*_, **__):
        raise AssertionError('it would be compiled for another shape')

    encoder.model._compiled_call_impl = compiled
    assert boundary.below(torch.zeros(1, 3, 32, 32)).shape[1:] == boundary.feature_shape


def test_the_pictures_that_only_tell_their_size_take_no_memory():
    boundary, seen = build('vit', 1).take_features((32, 32)), []
    boundary.model.embeddings.register_forward_pre_hook(
        lambda _, args, kwargs: seen.extend((*args, *kwargs.values())), with_kwargs=True
    )
    boundary.above(torch.zeros(5, *boundary.feature_shape))
    assert seen[0].shape == (5, 3, 32, 32)
    assert seen[0].untyped_storage().nbytes() == 3 * 32 * 32 * 4


@pytest.mark.parametrize('kind', [torch.uint8, torch.float32, torch.float64, torch.int32])
def test_all_but_float16_are_pictures(kind):
    data = MODELS.build(tiny_model_config()).data_preprocessor
    batch = fake_batch()
    wanted = data(batch)['inputs']['images']
    batch['inputs']['images'] = batch['inputs']['images'].to(kind)
    torch.testing.assert_close(data(batch)['inputs']['images'], wanted)
    batch['inputs']['images'] = batch['inputs']['images'].half()
    found = data(batch)['inputs']['images']
    assert found.dtype == torch.float32 and found.equal(batch['inputs']['images'].float())
