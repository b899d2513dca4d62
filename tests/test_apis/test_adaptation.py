"""A config that asks for the catalogue only."""

from pathlib import Path

import pytest

from eclip_mm.config import load_config
from helpers.catalogues import make_rows, write_rows

ADAPT = Path(__file__).parents[2] / 'configs/adapt.py'


def child(folder: Path, num: int, boxes: bool = False, more: str = '', **own) -> str:
    rows = [dict(make_rows(1)[0], product_id=f'p{k}') for k in range(num)]
    train = write_rows(rows, folder / 'train.parquet')
    if boxes:
        for row in rows:
            row['images'][0]['boxes'] = [dict(bbox=[0, 0, 8, 8], product_id=row['product_id'])]
    val = write_rows(rows[:3], folder / 'val.parquet')
    own = dict(dict(train=str(train), val=str(val), image_size=64), **own)
    path = folder / 'child.py'
    path.write_text(f'_base_ = {str(ADAPT)!r}\nadapt_to = {own!r}\n{more}')
    return str(path)


@pytest.mark.parametrize(
    ('num', 'batch_size', 'num_queries', 'num_passes'),
    [(7, 7, 7, 100), (30, 30, 20, 100), (64, 64, 20, 100), (80, 64, 20, 80), (700, 64, 20, 9)],
)
def test_sizes_follow_from_the_number_of_products(
    tmp_path, num, batch_size, num_queries, num_passes
):
    cfg = load_config(child(tmp_path, num))
    loader = cfg.train_dataloader
    assert loader.batch_size == batch_size and loader.sampler.num_passes == num_passes
    assert cfg.model.queries.num_queries == num_queries
    # every batch, also one that lies in two passes, has as many different products as queries
    different = batch_size if num % batch_size == 0 else -(-batch_size // 2)
    assert different >= num_queries


def test_paths_sizes_and_metrics_reach_every_part(tmp_path, capsys):
    cfg = load_config(child(tmp_path, 9, boxes=True, max_length=20))
    for name, file in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{name}_dataloader'].dataset
        assert Path(dataset.catalogue).name == f'{file}.parquet'
        sizes = [t['size'] for t in dataset.pipeline if 'size' in t]
        assert sizes == [64]
        (text,) = (t for t in dataset.pipeline if t['type'] == 'TokenizeText')
        assert text.max_length == 20
        assert text.tokenizer.name_or_path == 'checkpoints/all-MiniLM-L6-v2'
    kinds = [metric['type'] for metric in cfg.val_evaluator]
    assert kinds == [
        'ImageTextRetrieval',
        'ZeroShotClassification',
        'ProductRetrieval',
        'ProductRetrieval',
        'ProductGrounding',
    ]
    assert cfg.default_hooks.checkpoint.save_best == 'val/right_box'
    printed = capsys.readouterr().out
    assert '9 products for training, 3 for validation' in printed
    assert '64 x 64 pixels' in printed and '9 queries' in printed


def test_what_a_child_sets_itself_stays(tmp_path):
    more = """
model = dict(queries=dict(num_queries=5))
train_dataloader = dict(batch_size=16, sampler=dict(num_passes=3))
val_evaluator = [dict(type='ImageTextRetrieval', prefix='mine')]
default_hooks = dict(checkpoint=dict(save_best='mine/i2t_R@1'))
train_cfg = dict(max_epochs=2)
"""
    cfg = load_config(child(tmp_path, 32, more=more, max_length=20))
    assert cfg.model.queries.num_queries == 5
    assert cfg.train_dataloader.batch_size == 16 and cfg.train_dataloader.sampler.num_passes == 3
    assert (
        cfg.val_evaluator == cfg.test_evaluator == [dict(type='ImageTextRetrieval', prefix='mine')]
    )
    assert cfg.default_hooks.checkpoint.save_best == 'mine/i2t_R@1'
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'ClassPromptHook')
    assert hook.max_length == 20


def test_products_that_were_not_trained_are_no_classes(tmp_path):
    path = Path(child(tmp_path, 9))
    others = [dict(row, product_id=f'new{k}') for k, row in enumerate(make_rows(3))]
    write_rows(others, tmp_path / 'val.parquet')
    cfg = load_config(str(path))
    assert 'ZeroShotClassification' not in [metric['type'] for metric in cfg.val_evaluator]


def test_without_boxes_there_is_no_grounding(tmp_path):
    cfg = load_config(child(tmp_path, 9))
    assert 'ProductGrounding' not in [metric['type'] for metric in cfg.val_evaluator]
    assert cfg.default_hooks.checkpoint.save_best == 'val/t2i_R@1'


@pytest.mark.parametrize(
    ('own', 'error', 'message'),
    [
        (dict(vla='x'), KeyError, 'vla'),
        (dict(val=None), KeyError, 'adapt_to.val is not set'),
    ],
)
def test_what_is_missing_is_named(tmp_path, own, error, message):
    with pytest.raises(error, match=message):
        load_config(child(tmp_path, 3, **own))


def test_a_tower_that_names_no_size_needs_one(tmp_path):
    more = 'model = dict(image_encoder=dict(pretrained=None))'
    with pytest.raises(KeyError, match='adapt_to.image_size is not set'):
        load_config(child(tmp_path, 3, more=more, image_size=None))


def test_one_product_cannot_be_contrasted(tmp_path):
    with pytest.raises(ValueError, match='1 product'):
        load_config(child(tmp_path, 1))
