"""A config that does not fit the weights of its tower is an error that names both sides."""

import re

import pytest
from transformers import BertConfig, BertModel, Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from eclip_mm.registry import MODELS

SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp('towers')
    picture = dict(image_size=32, patch_size=8)
    text = dict(vocab_size=50, max_position_embeddings=20, intermediate_size=32)
    ViTModel(ViTConfig(**SIZES, **picture)).save_pretrained(folder / 'vit')
    Dinov2Model(Dinov2Config(**SIZES, **picture)).save_pretrained(folder / 'dino')
    BertModel(BertConfig(**SIZES, **text)).save_pretrained(folder / 'bert')
    return folder


def build(folder, **config):
    kind = 'Text' if folder.name == 'bert' else 'Image'
    return MODELS.build(
        dict(
            type=f'Transformers{kind}Encoder',
            model_type=None,
            pretrained=str(folder),
            config=config,
        )
    )


@pytest.mark.parametrize(
    'name, field, ours, theirs, weight',
    [
        ('vit', 'image_size', 64, 32, r'position_embeddings \(1, 17, 16\) and here \(1, 65, 16\)'),
        ('dino', 'image_size', 64, 32, r'position_embeddings \(1, 17, 16\) and here'),
        ('vit', 'patch_size', 16, 8, 'patch_embeddings'),
        ('vit', 'hidden_size', 32, 16, r'cls_token \(1, 1, 16\) and here \(1, 1, 32\)'),
        ('vit', 'intermediate_size', 8, 3072, r'mlp\.fc1'),
        ('dino', 'mlp_ratio', 2, 4, r'mlp\.fc1'),
        ('vit', 'num_hidden_layers', 3, 2, r'16 weights are not there \(\S*layers?\.2\.'),
        ('bert', 'num_hidden_layers', 3, 2, 'are not there'),
        ('bert', 'vocab_size', 40, 50, r'word_embeddings.weight \(50, 16\) and here \(40, 16\)'),
        ('bert', 'vocab_size', 60, 50, r'word_embeddings.weight \(50, 16\) and here \(60, 16\)'),
        ('bert', 'max_position_embeddings', 40, 20, r'\(20, 16\) and here \(40, 16\)'),
        ('bert', 'type_vocab_size', 1, 2, 'token_type_embeddings'),
    ],
)
def test_both_sides_are_named(folders, name, field, ours, theirs, weight):
    with pytest.raises(ValueError) as error:
        build(folders / name, **{field: ours})
    message = str(error.value)
    assert f'{field}={ours} here and {theirs} there' in message and name in message
    assert re.search(weight, message), message


def test_what_fits_loads_and_what_may_differ_differs(folders, capsys):
    build(folders / 'vit')
    build(folders / 'bert', hidden_dropout_prob=0.5)
    build(folders / 'bert', num_hidden_layers=1)
    shown = capsys.readouterr()
    assert 'LOAD REPORT' not in shown.out + shown.err


def test_fields_that_no_shape_shows_are_a_warning(folders, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'eclip_mm.models.encoders.loading.print_log', lambda text, **kw: lines.append((text, kw))
    )
    build(folders / 'bert', num_attention_heads=2, hidden_dropout_prob=0.0)
    (line,) = [text for text, options in lines if 'level' in options]
    assert 'trained with num_attention_heads=4, but config sets num_attention_heads=2' in line


def test_a_text_model_is_no_image_encoder_and_the_other_way_round(folders):
    for kind, name, message in (
        ('Image', 'bert', "image_encoder: model_type 'bert' is a text model"),
        ('Text', 'vit', "text_encoder: model_type 'vit' is no text model"),
    ):
        with pytest.raises(ValueError, match=message):
            MODELS.build(
                dict(
                    type=f'Transformers{kind}Encoder',
                    model_type=None,
                    pretrained=str(folders / name),
                )
            )


@pytest.mark.parametrize(
    'file, content, message',
    [
        ('model.safetensors', 'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer'),
        ('model.safetensors', '<!DOCTYPE html>', 'an HTML page'),
        ('model.safetensors', '', 'empty'),
        ('pytorch_model.bin', 'Not found', "a text: 'Not found'"),
        ('config.json', '<!DOCTYPE html>', 'is no model of transformers.*not a valid JSON'),
    ],
)
def test_files_that_are_none_of_a_model(folders, tmp_path, file, content, message):
    (tmp_path / 'config.json').write_text((folders / 'vit/config.json').read_text())
    (tmp_path / file).write_text(content)
    with pytest.raises((OSError, ValueError), match=message) as error:
        build(tmp_path)
    assert str(tmp_path) in str(error.value)
    with pytest.raises(OSError, match='is no model of transformers'):
        build(folders / 'vit/model.safetensors')
