"""Weights of a checkpoint that do not fit the model are an error and not a line in the log."""

import pytest
import safetensors.torch
import torch

from eclip_mm.checkpoint.fit import check_fit
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers.runs import make_runner


def config(image_size=32, width=16, embed_dims=16, words=100, places=64, **options):
    cfg = tiny_model_config(
        embed_dims=embed_dims, num_blocks=1, image_size=image_size, num_queries=4, **options
    )
    sizes = dict(hidden_size=width, intermediate_size=32)
    cfg['image_encoder']['config'].update(sizes)
    cfg['text_encoder']['config'].update(sizes, vocab_size=words, max_position_embeddings=places)
    return cfg


@pytest.fixture(scope='module')
def weights():
    return MODELS.build(config()).state_dict()


def queue(size):
    heads = config()['pretext_heads']
    return dict(
        heads, inter=dict(type='InterProductHead', queue=dict(type='MomentumQueue', size=size))
    )


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(image_size=48), r'position_embeddings .*\(1, 17, 16\) there and \(1, 37, 16\) here'),
        (dict(width=32), r'16\D.* there and .*32.*(width|image_size|patch)'),
        (dict(embed_dims=32, width=16), r'embed_dims'),
        (dict(words=400), r'word_embeddings\.weight has \(100, 16\) there and \(400, 16\) here '
         r'\(it follows from text_encoder\.config\.vocab_size\)'),
        (dict(places=80), r'\(64, 16\) there and \(80, 16\) here .*max_position_embeddings'),
    ],
)  # fmt: skip
def test_other_shapes_name_both_sides_and_the_setting(weights, changes, message):
    model = MODELS.build(config(**changes))
    for names in ('', 'module.'):
        found = {names + key: value for key, value in weights.items()}
        for all_of_them, prefix in ((True, ''), (False, 'network.')):
            with pytest.raises(ValueError, match=message):
                check_fit(model, found, all_of_them, prefix)


def test_what_fits_and_what_a_new_training_does_not_take(weights):
    model = MODELS.build(config())
    check_fit(model, weights, all_of_them=True)
    clip = {k: v for k, v in weights.items() if k.startswith(('network.image', 'network.text'))}
    check_fit(model, clip, all_of_them=False, prefix='network.')
    with pytest.raises(ValueError, match='weights of this model are not in the checkpoint'):
        check_fit(model, clip, all_of_them=True)
    other = dict(weights, **{'heads.inter.queue.feats': torch.zeros(3, 16)})
    with_queue = MODELS.build(config(pretext_heads=queue(8)))
    check_fit(with_queue, other, all_of_them=False, prefix='network.')  # begins empty
    with pytest.raises(ValueError, match='the size of a queue'):
        check_fit(with_queue, other, all_of_them=True)


def test_weights_of_another_model(weights):
    bert = {'encoder.layer.0.weight': torch.zeros(1), 'pooler.bias': torch.zeros(1)}
    for found in (bert, {}, dict(model=weights, epoch=3)):
        with pytest.raises(ValueError, match='weights of this model are not in the checkpoint'):
            check_fit(MODELS.build(config()), found, all_of_them=False, prefix='network.')


@pytest.mark.slow
def test_load_from_and_resume_check_before_the_first_step(weights, tmp_path):
    torch.save(dict(state_dict=weights), tmp_path / 'weights.pth')
    safetensors.torch.save_file(
        {key: value.clone() for key, value in weights.items()}, tmp_path / 'weights.safetensors'
    )
    for name in ('weights.pth', 'weights.safetensors'):
        path = str(tmp_path / name)
        runner = make_runner(tmp_path / 'same', model=config(), load_from=path)
        runner.load_or_resume()
        for key, value in runner.model.state_dict().items():
            assert torch.equal(value, weights[key]), key
        runner = make_runner(tmp_path / 'words', model=config(words=400), load_from=path)
        with pytest.raises(ValueError, match=r'\(100, 16\) there and \(400, 16\) here'):
            runner.load_or_resume()
        runner = make_runner(tmp_path / 'on', model=config(), load_from=path, resume=True)
        with pytest.raises(ValueError, match='weights, but no optimizer, message_hub.*load_from'):
            runner.load_or_resume()
