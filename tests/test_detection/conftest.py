"""A tiny pretraining checkpoint for the detectors to start from; ops need mmdet."""

import pytest
import torch
from mmengine.config import Config

from eclip_mm.config.loading import load_config
from eclip_mm.testing import tiny_model_config
from eclip_mm.utils.env_check import EnvironmentCheckError, check_detection
from helpers.detection import NAMES, PRETRAINING, ROOT


@pytest.fixture(scope='session')
def detection():
    """mmdet with everything registered; skips without it."""
    try:
        check_detection()
    except EnvironmentCheckError as error:
        pytest.skip(str(error))
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)


@pytest.fixture(autouse=True)
def _detection_where_marked(request):
    if request.node.get_closest_marker('ops'):
        request.getfixturevalue('detection')


def save_pretraining(path, **overrides):
    """An untrained ECLIP (2 blocks, D = 32, patches of 8 pixels) with the config in the file."""
    from eclip_mm.registry import MODELS

    torch.manual_seed(5)
    cfg = tiny_model_config(**overrides)
    model = MODELS.build(cfg)
    text = Config(dict(model=cfg)).pretty_text
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=text)), path)
    return model


@pytest.fixture(scope='session')
def pretraining(tmp_path_factory):
    """Path of a checkpoint, and the model in it."""
    path = tmp_path_factory.mktemp('pretraining') / 'eclip.pth'
    return str(path), save_pretraining(path)


@pytest.fixture(scope='session')
def clip_checkpoint(tmp_path_factory):
    """Path of a checkpoint without decoder and momentum model, as CLIP's child config gives."""
    path = tmp_path_factory.mktemp('clip') / 'clip.pth'
    save_pretraining(
        path, pretext_heads=dict(itc=dict(type='ITCHead'), inter=None, itm=None, intra=None)
    )
    return str(path)


@pytest.fixture(scope='session')
def with_tokenizer(pretraining, tmp_path_factory):
    """The checkpoint with a tokenizer in it, as a training writes it."""
    from eclip_mm.datasets.tokenizers import JsonTokenizer
    from eclip_mm.datasets.wordpiece import build_wordpiece, train_wordpiece

    vocabulary = train_wordpiece(NAMES, 60)
    tokenizer = JsonTokenizer(build_wordpiece(vocabulary).to_str(), 0)
    saved = torch.load(pretraining[0], weights_only=False)
    saved['meta']['tokenizer'] = dict(json=tokenizer.to_json(), pad_token_id=0, fingerprint='x')
    path = tmp_path_factory.mktemp('with_tokenizer') / 'eclip.pth'
    torch.save(saved, path)
    return str(path), tokenizer


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    """Pretraining configs without weights."""
    folder, found = tmp_path_factory.mktemp('configs'), {}
    for key, name in PRETRAINING.items():
        text = Config(dict(model=load_config(str(ROOT / 'configs' / name)).model)).pretty_text
        found[key] = str(folder / f'{key}.pth')
        torch.save(dict(state_dict={}, meta=dict(cfg=text)), found[key])
    return found
