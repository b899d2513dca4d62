"""Tools and DetInferencer with the package as pip installs it, outside of the checkout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.detection import coco

pytestmark = [pytest.mark.ops, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
_base_ = {base!r}
data = dict(ann_file='good.json', data_prefix=dict(img=''))
train_dataloader = dict(dataset=data, num_workers=0, persistent_workers=False)
val_dataloader = dict(dataset=data, num_workers=0, persistent_workers=False)
model = dict(num_queries=5, num_extra_blocks=1, test_cfg=dict(max_per_img=5),
             init_cfg=dict(checkpoint={checkpoint!r}))
train_cfg = dict(max_epochs=1, val_interval=1)
"""

# One process: importing torch, mmcv and mmdet takes longer than all three.
SCRIPT = """
import os, runpy, sys
import eclip_mm
root, pretraining, site = sys.argv[1:4]
assert eclip_mm.__file__.startswith(site), eclip_mm.__file__

def run(tool, *args):
    sys.argv = [tool, *args]
    runpy.run_path(os.path.join(root, 'tools', tool), run_name='__main__')

run('train.py', 'detr.py', '--work-dir', 'run')
os.remove(pretraining)  # from here on the detector's own checkpoint is enough
run('test.py', 'detr.py', 'run/epoch_1.pth', '--work-dir', 'out', '--show-dir', 'drawn')

from mmdet.apis import DetInferencer
inferencer = DetInferencer('run/detr.py', 'run/epoch_1.pth', device='cpu', show_progress=False)
found = inferencer('1.png', out_dir='inferred', no_save_pred=False)['predictions'][0]
assert len(found['bboxes']) == len(found['scores']) == 5, found
print('ALL DONE')
"""


@pytest.fixture
def folder(tmp_path, with_tokenizer):
    rng = np.random.default_rng(0)
    for k in (1, 2):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / f'{k}.png')
    (tmp_path / 'good.json').write_text(json.dumps(coco()))
    checkpoint = tmp_path / 'pretraining.pth'
    checkpoint.write_bytes(Path(with_tokenizer[0]).read_bytes())
    base = ROOT / 'configs/detection/eclip_detr.py'
    text = CONFIG.format(base=str(base), checkpoint=str(checkpoint))
    (tmp_path / 'detr.py').write_text(text)
    (tmp_path / 'script.py').write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def site(tmp_path):
    """The package as pip installs it, from a copy: setuptools writes beside what it builds."""
    source, site = tmp_path / 'source', tmp_path / 'site'
    shutil.copytree(
        ROOT / 'eclip_mm', source / 'eclip_mm', ignore=shutil.ignore_patterns('__pycache__')
    )
    for name in ('setup.cfg', 'pyproject.toml', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-build-isolation']
    done = subprocess.run(
        [*command, '--target', str(site), str(source)], text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)
    return str(site)


def test_train_test_and_infer_outside_of_the_checkout(folder, site):
    command = [sys.executable, 'script.py', str(ROOT), str(folder / 'pretraining.pth'), site]
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=site)
    done = subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True)
    log = done.stdout + done.stderr
    assert done.returncode == 0 and 'ALL DONE' in done.stdout, log[-4000:]
    assert 'not requested: ' in log  # the report of what was loaded
    assert 'not in the checkpoint, keeping their initial values: decoder.blocks.2.' in log
    figures = json.loads((folder / 'out/metrics.json').read_text())
    assert 0 <= figures['detection/mAP@0.3'] <= 1 and figures['detection/num_boxes'] == 3
    assert 'mAP@0.5' in (folder / 'out/table.md').read_text()
    assert len(list(folder.glob('out/*/drawn/*.png'))) == 2
    assert len(list(folder.glob('inferred/vis/*.png'))) == 1
