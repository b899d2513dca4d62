"""Score map sheets rank candidates as the evaluation beside them does."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.data import ConcatDataset, Dataset

from eclip_mm.apis import NothingToFind
from eclip_mm.apis.picture_hook import PictureHook
from eclip_mm.evaluation.evaluator import ProductEvaluator
from eclip_mm.registry import DATASETS, TASK_UTILS
from eclip_mm.visualization.canvas import ORANGE, WHITE
from helpers.samples import grounding_sample, run

CORNER, PHOTO = [0, 0, 4, 4], [0, 0, 8, 8]
SPLITS = ('photos', 'products')


@DATASETS.register_module(force=True)
class OnePhoto(Dataset):
    """The named product is in a corner, where the map is twice as high as elsewhere."""

    metainfo: dict = {}

    def __init__(self, split: str):
        self.split = split

    def full_init(self):
        """ConcatDataset calls it."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return grounding_sample([[2, 1], [1, 1]], [CORNER], [PHOTO, CORNER], split=self.split)


@TASK_UTILS.register_module(force=True)
class WholePhotoProposer:
    def __call__(self, sample, image):
        return [PHOTO]


@pytest.fixture
def first_right(monkeypatch):
    """Per photo drawn, whether the box ranked first is a right one."""
    init_default_scope('eclip_mm')
    seen, picture = [], torch.zeros(3, 8, 8, dtype=torch.uint8)
    monkeypatch.setattr(
        'eclip_mm.apis.score_maps.predict_items',
        lambda model, dataset, indices, names_from: [
            (picture, dataset[index]) for index in indices
        ],
    )
    monkeypatch.setattr(
        'eclip_mm.visualization.score_map.draw_tags',
        lambda draw, boxes, colours: seen.append({WHITE: True, ORANGE: False}[colours[0]]),
    )
    return seen


def load_program(path: str):
    """A program of ``tools`` as a module."""
    file = Path(__file__).resolve().parents[2] / 'tools' / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw_in_training(cfg, folder, monkeypatch):
    runner = SimpleNamespace(
        iter=1,
        model=nn.Identity(),
        val_dataloader=SimpleNamespace(dataset=ConcatDataset([OnePhoto(s) for s in SPLITS])),
        val_loop=SimpleNamespace(evaluator=ProductEvaluator(cfg.test_evaluator)),
        visualizer=SimpleNamespace(add_image=lambda *args, **kwargs: None),
    )
    PictureHook()._draw_score_maps(runner)


def draw_by_tool(cfg, folder, monkeypatch):
    program = load_program('analysis_tools/draw_score_maps.py')
    monkeypatch.setattr('eclip_mm.apis.load_config_and_model', lambda *args: (cfg, None))
    monkeypatch.setattr(sys, 'argv', ['draw', 'config', 'checkpoint', str(folder / 'sheet.png')])
    program.main()


def draw_in_demo(cfg, folder, monkeypatch):
    program = load_program('demo.py')
    monkeypatch.setattr('eclip_mm.apis.load_model', lambda *args: None)

    def no_search(*args, **kwargs):
        raise NothingToFind

    monkeypatch.setattr('eclip_mm.apis.draw_retrieval', no_search)
    program.draw(cfg, 'checkpoint', folder, 1)


@pytest.mark.parametrize('draw', [draw_in_training, draw_by_tool, draw_in_demo])
@pytest.mark.parametrize(
    ('photos', 'products'),
    [
        (dict(), dict()),
        (dict(alpha=1.0), dict(alpha=0.0)),
        (dict(iou_thrs=(0.2,)), dict(alpha=1.0)),
        (dict(alpha=1.0), dict(alpha=1.0, candidates=dict(type='WholePhotoProposer'))),
    ],
)
def test_sheets_agree_with_the_metric(photos, products, draw, first_right, tmp_path, monkeypatch):
    metrics = [
        dict(type='ImageTextRetrieval'),
        dict(type='ProductGrounding', score_map='pred_image_prompt_map', prefix='x', alpha=2.0),
        dict(type='ProductGrounding', split='photos', prefix='photos', **photos),
        dict(type='ProductGrounding', split='products', prefix='products', **products),
    ]
    datasets = [dict(type='OnePhoto', split=split) for split in SPLITS]
    dataloader = dict(dataset=dict(type='ConcatDataset', datasets=datasets))
    cfg = Config(dict(test_evaluator=metrics, test_dataloader=dataloader))
    draw(cfg, tmp_path, monkeypatch)
    figures = run(metrics[2:], [OnePhoto(split)[0] for split in SPLITS])
    hits = [
        next(figures[key] for key in (f'{s}/right_box', f'{s}/acc@0.5') if key in figures)
        for s in SPLITS
    ]
    assert first_right == hits
