"""Configs of the projects on two streams, and what these refuse."""

import pytest
import torch

from eclip_mm.config.loading import load_config
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers.streams import KINDS, build, import_projects


@pytest.fixture(scope='module', autouse=True)
def projects(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import_projects()
        yield


BASES = dict(
    tiny_synthetic='configs/demo/eclip_tiny_synthetic.py',
    vitb16='configs/eclip_vitb16.py',
    lite2_snacks='configs/photos/clip_lite2_snacks.py',
    lite2_grocery='configs/photos/clip_lite2_grocery.py',
)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', BASES)
def test_configs_have_the_towers_and_steps_of_their_base(kind, name, repo_root):
    folder = kind.lower()
    cfg = load_config(str(repo_root / f'projects/{folder}/{folder}_{name}.py'))
    other = load_config(str(repo_root / BASES[name]))
    measured = {'test_evaluator', 'custom_hooks', 'model'}
    for key in set(other) - (measured if kind in ('ViLBERT', 'UNITER') else {'model'}):
        assert cfg[key] == other[key], key
    changed = {key for key in other.model if cfg.model[key] != other.model[key]}
    assert changed <= {'type', 'pretext_heads', 'projections', 'embed_dims'}
    if 'lite2' in name:  # whose towers may not be on this machine
        return
    for encoder in ('image_encoder', 'text_encoder'):
        cfg.model[encoder].pretrained = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    heads = [head for head in KINDS[kind]['heads'] if head != 'itc']
    assert set(model.heads) - {'itc'} == {*heads, 'masked'}


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(chunk_size=2), 'chunk_size=2 would not bound'),
        (dict(tasks=dict(mlm=1, itc=1)), r"unknown names \['itc'\]"),
        (dict(projections=dict(image='linear')), 'set projections=None'),
        (dict(masking=dict(vocab_size=99)), 'masked.vocab_size=99, .* set vocab_size=100'),
        (dict(text_encoder=dict(padding='max_length', length_groups=1)), "is 'max_length'"),
    ],
)
def test_what_it_cannot_do_is_an_error(options, words):
    if 'text_encoder' in options:
        options = dict(text_encoder=tiny_model_config()['text_encoder'] | options['text_encoder'])
    with pytest.raises((ValueError, KeyError), match=words):
        build('CAPTURE', **options)
