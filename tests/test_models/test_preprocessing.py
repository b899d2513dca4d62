"""Mean, std and size come from the tower's own processor file."""

import json
import warnings

import pytest
import torch

from eclip_mm.models.encoders import TransformersImageEncoder
from eclip_mm.models.encoders.preprocessing import parse_preprocessing, read_preprocessing
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers import towers

IMAGENET = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    'fields, mean, std, size',
    [
        (dict(IMAGENET, size=dict(height=32, width=48)), 123.675, 58.395, (32, 48)),
        # CLIP and DINOv2: the crop is what the tower sees
        (
            dict(
                IMAGENET,
                size=dict(shortest_edge=256),
                crop_size=dict(height=224, width=224),
                do_center_crop=True,
            ),
            123.675,
            58.395,
            (224, 224),
        ),
        (dict(image_mean=0.5, image_std=0.5, size=224), 127.5, 127.5, (224, 224)),
        (dict(IMAGENET, do_normalize=False), 0.0, 255.0, None),
        (dict(IMAGENET, do_rescale=False, do_resize=False, size=9), 0.485, 0.229, None),
        # EfficientNet: to [-1, 1] first
        (
            dict(image_mean=0.0, image_std=1.0, rescale_factor=1 / 127.5, rescale_offset=True),
            127.5,
            127.5,
            None,
        ),
    ],
)
def test_fields_of_processors(fields, mean, std, size):
    found = parse_preprocessing(fields, 'f')
    assert found.mean[0] == pytest.approx(mean) and found.std[0] == pytest.approx(std)
    assert found.size == size


def test_both_places_of_the_file(tmp_path):
    assert read_preprocessing(str(tmp_path)) is None
    assert read_preprocessing('no/such-model') is None
    (tmp_path / 'processor_config.json').write_text(json.dumps(dict(image_processor=IMAGENET)))
    assert read_preprocessing(str(tmp_path)).source.endswith('processor_config.json')
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(dict(IMAGENET, size=7)))
    assert read_preprocessing(str(tmp_path)).size == (7, 7)


@pytest.fixture
def folder(tmp_path):
    towers.build('vit', towers.VIT).save_pretrained(tmp_path)
    fields = dict(IMAGENET, size=dict(height=32, width=32))
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(fields))
    return str(tmp_path)


def build(folder, **preprocessor):
    cfg = tiny_model_config(data_preprocessor=dict(type='ProductDataPreprocessor', **preprocessor))
    cfg['image_encoder'] = dict(type='TransformersImageEncoder', pretrained=folder)
    return MODELS.build(cfg)


def test_a_model_takes_them(folder):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = build(folder)
        build(folder, mean=(123.675, 116.28, 103.53), std=(58.4, 57.12, 57.375))
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(
        [123.675, 116.28, 103.53]
    )
    images = model.data_preprocessor(fake_batch(2))['inputs']['images']
    raw = fake_batch(2)['inputs']['images'].float() / 255
    wanted = (raw - torch.tensor(IMAGENET['image_mean']).view(3, 1, 1)) / torch.tensor(
        IMAGENET['image_std']
    ).view(3, 1, 1)
    torch.testing.assert_close(images, wanted)
    plain = MODELS.build(tiny_model_config()).data_preprocessor  # nothing says otherwise
    assert plain.mean.unique().tolist() == plain.std.unique().tolist() == [127.5]


def test_what_contradicts_them_gets_a_warning_that_shows_both(folder):
    with pytest.warns(UserWarning, match=r'mean=\(127.5, .*preprocessor_config.json.*123.675'):
        model = build(folder, mean=(127.5, 127.5, 127.5))
    assert model.data_preprocessor.mean.flatten().tolist() == [127.5] * 3  # the config's counts
    assert model.data_preprocessor.std.flatten()[0] == pytest.approx(58.395)
    encoder = TransformersImageEncoder(pretrained=folder)
    with pytest.warns(UserWarning, match='40 x 32 pixels.*preprocessor_config.json says 32 x 32'):
        with pytest.raises(ValueError, match='40'):  # a ViT does not interpolate
            encoder(torch.zeros(1, 3, 40, 32))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        encoder(torch.zeros(1, 3, 40, 32), any_size=True)  # a detector's
        TransformersImageEncoder(pretrained=folder)(torch.zeros(1, 3, 32, 32))
