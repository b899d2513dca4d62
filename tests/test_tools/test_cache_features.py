"""A feature cache from two processes that are killed, and a training from it."""

import re
import signal
import time

import pytest
import torch

from eclip_mm.config import load_config
from eclip_mm.datasets.feature_cache import CacheReader
from eclip_mm.registry import MODELS

CACHED = """
_base_ = 'tiny.py'
load_from = {start!r}
model = dict(freeze=dict(image=1, text='all'))
feature_cache = dict(folder={folder!r}, views=8)
train_cfg = dict(max_epochs=1)
"""


@pytest.mark.slow
def test_a_killed_cache_is_completed_and_trained_from(workplace):
    folder, start = workplace.folder / 'cache', workplace.folder / 'start.pth'
    config = workplace.folder / 'cached.py'
    config.write_text(CACHED.format(start=str(start), folder=str(folder)))
    model = MODELS.build(load_config(str(config)).model)
    torch.save(dict(state_dict=model.state_dict()), start)

    tool = workplace.root / 'tools/cache_features.py'
    options = (tool, config, '--jobs', 2, '--num-workers', 0, '--device', 'cpu', '--batch-size')
    process, until = workplace.start('first', *options, 1), time.time() + 120
    try:
        while not any(path.stat().st_size for path in folder.glob('part-*.jsonl')):
            assert time.time() < until, workplace.log('first')
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait(60) == -signal.SIGKILL
    first = len(CacheReader(folder))

    text = workplace.run('second', *options, 64)
    views, left = (
        int(re.search(pattern, text)[1].replace(',', ''))
        for pattern in (r'([\d,]+) views of', r'([\d,]+) were there')
    )
    assert views == 64 * 3 * 8 + 48 + 32  # training, then validation, whose splits are the test's
    assert 0 < first <= left < views
    assert len(CacheReader(folder)) <= views

    assert '8/8' in workplace.train('cached', config=config)
    assert 'CachedPictures' in (workplace.folder / 'cached/cached.py').read_text()
    assert (workplace.folder / 'cached/last_checkpoint').exists()
