"""configs/evaluation: no model of their own, completed by any checkpoint's config, all builds."""

from pathlib import Path

import pytest
from mmengine.config import Config

from eclip_mm.config.from_checkpoint import complete_evaluation_config
from eclip_mm.config.loading import load_config
from eclip_mm.registry import METRICS
from eclip_mm.utils.config_text import parse_config_text

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
OPEN = ('tables.py', 'held_out_pictures.py')  # take --catalogue and --queries
NAMES = sorted(path.name for path in (CONFIGS / 'evaluation').glob('*.py'))


def complete(name, training='demo/eclip_tiny_synthetic.py'):
    saved = parse_config_text(load_config(str(CONFIGS / training)).pretty_text)
    catalogue, queries = ('my.parquet', 'queries.parquet') if name in OPEN else (None, None)
    return load_config(
        str(CONFIGS / 'evaluation' / name),
        complete=lambda cfg: complete_evaluation_config(
            cfg, saved, catalogue, 'ckpt.pth', queries
        ),
    )


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('training', ['demo/eclip_tiny_synthetic.py', 'eclip_vitl16.py'])
def test_a_checkpoint_completes_it(name, training):
    assert 'model' not in Config.fromfile(CONFIGS / 'evaluation' / name)
    cfg, theirs = complete(name, training), load_config(str(CONFIGS / training))
    assert cfg.model.image_encoder.config == theirs.model.image_encoder.config
    assert cfg.model.image_encoder.get('pretrained') is None
    test_set = theirs.test_dataloader.dataset
    pipeline = test_set.get('datasets', [test_set])[0].pipeline
    dataset = cfg.test_dataloader.dataset
    for part in dataset.get('datasets', [dataset]):
        assert part.pipeline == pipeline and part.catalogue
    (hook,) = cfg.custom_hooks
    assert hook.tokenizer == pipeline[2].tokenizer


@pytest.mark.parametrize('name', NAMES)
def test_its_metrics_build_with_intervals_and_names_of_their_own(name):
    cfg = complete(name)
    dataset = cfg.test_dataloader.dataset
    splits = {part.split for part in dataset.get('datasets', [dataset])}
    for metric in cfg.test_evaluator:
        assert metric.num_bootstrap == 1000
        asked = {metric.get(key) for key in ('split', 'query_split', 'gallery_split')} - {None}
        assert asked and asked <= splits
        if 'catalogue' not in metric:  # needs the file
            METRICS.build(metric)
    keys = [
        tuple(metric.get(key) for key in ('type', 'prefix', 'protocol', 'target'))
        for metric in cfg.test_evaluator
    ]
    assert len({str(key) for key in keys}) == len(keys), 'two metrics would write one figure'
