"""Convolutional towers: finer tokens, averaged tokens, and a layout that changes no value."""

import pytest
import torch
from torch import nn

from eclip_mm.models.encoders import image_encoder
from eclip_mm.models.encoders.convolutional import PaddedConv2d
from eclip_mm.models.encoders.smoothing import smooth
from eclip_mm.registry import MODELS

TOWERS = {
    # kernels of 3 and 5, blocks with and without stride, as in EfficientNet-lite
    'efficientnet': dict(
        in_channels=[32, 8, 16, 16],
        out_channels=[8, 16, 16, 24],
        kernel_sizes=[3, 5, 3, 5],
        strides=[1, 2, 2, 2],
        num_block_repeats=[1, 2, 1, 2],
        expand_ratios=[1, 2, 2, 2],
        depthwise_padding=[],
        hidden_dim=1280,
        width_coefficient=1.0,
        depth_coefficient=1.0,
    ),
    'convnext': dict(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 2]),
    'convnextv2': dict(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
}
OWN = dict(efficientnet=16, convnext=32, convnextv2=32)


def build(model_type, state=None, **options):
    torch.manual_seed(0)
    encoder = MODELS.build(
        dict(
            type='TransformersImageEncoder',
            model_type=model_type,
            config=TOWERS.get(model_type),
            **options,
        )
    )
    for module in encoder.modules():  # so that pictures and borders make a difference
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            module.running_mean.normal_()
            module.running_var.uniform_(0.1, 1)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    for name, param in encoder.named_parameters():  # the identity, as in EfficientNet-lite: its
        if 'squeeze_excite' in name:  # mean over all tokens is another one of finer tokens
            nn.init.constant_(param, 30 if name.endswith('expand.bias') else 0)
    if state is not None:
        encoder.load_state_dict(state)
    return encoder.eval()


@pytest.mark.parametrize('fewer', [2, 4])
@pytest.mark.parametrize('model_type', TOWERS)
def test_the_tokens_of_the_whole_stride_are_among_the_finer_ones(model_type, fewer):
    """Also at the border: the padding of each convolution moves with its dilation."""
    coarse = build(model_type)
    stride = OWN[model_type] // fewer
    fine = build(model_type, coarse.state_dict(), output_stride=stride)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        _, old, (h, w) = coarse(images)
        _, new, grid = fine(images)
    assert grid == (64 // stride, 96 // stride) == (fewer * h, fewer * w)
    among = new.unflatten(1, grid)[:, ::fewer, ::fewer]
    # float32 sums of up to 25 x 16 products in another order
    torch.testing.assert_close(
        among, old.unflatten(1, (h, w)), rtol=1e-4, atol=1e-4 * old.abs().max()
    )
    between = new.unflatten(1, grid)[:, 1::fewer, 1::fewer]
    assert (between - among).abs().max() > 0.1 * among.std(dim=(1, 2)).max()


def test_gradients_reach_the_weights_of_dilated_convolutions():
    encoder = build('efficientnet', output_stride=8).train()
    encoder(torch.randn(2, 3, 32, 32))[1].square().mean().backward()
    dilated = [m for m in encoder.modules() if isinstance(m, PaddedConv2d)]
    assert [m.dilation[0] for m in dilated] == [1, 2]
    assert all(m.weight.grad.abs().sum() > 0 for m in dilated)


@pytest.mark.parametrize(
    'model_type, options, said',
    [
        ('vit', dict(output_stride=16), "'vit' has tokens of one size"),
        ('vit', dict(output_stride=16, conv_stem=(8, 8, 8, 8)), "'vit' has tokens of one size"),
        ('efficientnet', dict(output_stride=32), 'can have 2, 4, 8, 16'),
        ('convnext', dict(output_stride=24), 'can have 4, 8, 16, 32'),
        ('convnext', dict(smooth_tokens=2), 'set it to an odd number'),
        ('convnext', dict(smooth_tokens=0), 'set it to an odd number'),
    ],
)
def test_what_a_tower_cannot_have_is_an_error(model_type, options, said):
    small = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    config = TOWERS.get(model_type) or dict(small, image_size=32, patch_size=16)
    with pytest.raises(ValueError, match=said):
        MODELS.build(
            dict(type='TransformersImageEncoder', model_type=model_type, config=config, **options)
        )


@pytest.mark.parametrize('model_type', TOWERS)
def test_the_layout_changes_neither_values_nor_what_is_stored(model_type, monkeypatch):
    encoder = build(model_type)
    images = torch.randn(2, 3, 64, 64)
    layouts = []
    encoder.model.register_forward_pre_hook(
        lambda _, args, kwargs: layouts.append(kwargs['pixel_values'].stride()), with_kwargs=True
    )
    with torch.no_grad():
        tokens = encoder(images)[1]
        monkeypatch.setattr(image_encoder, 'lay_out', lambda model, x: x)
        plain = encoder(images)[1]
    assert layouts == [(3 * 64 * 64, 1, 3 * 64, 3), images.stride()]
    torch.testing.assert_close(tokens, plain, rtol=1e-4, atol=1e-4 * plain.abs().max())
    assert all(value.is_contiguous() for value in encoder.state_dict().values())


def test_a_token_is_the_mean_of_its_window():
    """A grid of 2 x 3 with 1 to 6; at the border of those that there are."""
    tokens = torch.tensor([1.0, 2, 3, 4, 5, 6]).reshape(1, 6, 1)
    corner, middle = (1 + 2 + 4 + 5) / 4, 21 / 6
    other = (2 + 3 + 5 + 6) / 4
    expected = torch.tensor([corner, middle, other] * 2).reshape(1, 6, 1)
    torch.testing.assert_close(smooth(tokens, (2, 3), 3), expected)
    with pytest.raises(ValueError, match=r'all 2 x 3 patches, but there are 5'):
        smooth(tokens[:, 1:], (2, 3), 3)


def test_averaged_tokens_leave_the_class_token():
    plain = build('convnext')
    smoothed = build('convnext', plain.state_dict(), smooth_tokens=3)
    with torch.no_grad():
        class_token, tokens, grid = plain(images := torch.randn(1, 3, 96, 96))
        found = smoothed(images)
    torch.testing.assert_close(found[0], class_token, rtol=0, atol=0)
    torch.testing.assert_close(found[1], smooth(tokens, grid, 3), rtol=0, atol=0)


@pytest.mark.parametrize('model_type', TOWERS)
def test_a_layout_that_rounds_otherwise_is_no_reason_to_refuse_a_cache(model_type):
    """With two threads EfficientNet-lite2 differs by 2e-5 between the layouts."""
    encoder = build(model_type)

    def round_otherwise(module, inputs, output):
        if inputs[0].is_contiguous(memory_format=torch.channels_last):
            return output + 1e-3
        return output

    first = next(m for m in encoder.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(round_otherwise)
    encoder.freeze(2)
    assert encoder.take_features((64, 64)).name
