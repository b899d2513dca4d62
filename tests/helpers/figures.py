"""What the tools write of a training's validation and of a test."""

import json
from pathlib import Path

import pytest

METRICS = ('i2t_R@1', 't2i_R@1', 'fine_R@1', 'pointing', 'right_box')


def figures(work_dir: Path) -> dict:
    """What tools/test.py wrote."""
    (path,) = work_dir.glob('*/2*.json')
    return json.loads(path.read_text())


def logged(work_dir: Path) -> list[dict]:
    """What a training logged, in its order: rows of steps and of validations."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def validation(work_dir: Path) -> dict:
    """The last validation of a training."""
    return [row for row in logged(work_dir) if 'photos/right_box' in row][-1]


def assert_same_figures(ours: dict, theirs: dict) -> None:
    rates = {k for k in theirs if '/' in k}
    assert {f'{split}/{m}' for split in ('photos', 'products') for m in METRICS} <= rates
    # texts are encoded in groups that follow from the batch: float32 rounds otherwise, by 1e-7
    assert {k: ours[k] for k in rates} == pytest.approx({k: theirs[k] for k in rates}, rel=1e-6)
