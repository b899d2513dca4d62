"""The products of every step after kill -9 and --resume, with other numbers of workers."""

import json
import signal

import pytest

from eclip_mm.datasets import ParquetCatalogueWriter, read_catalogue

RECORD_HOOK = """
import json
import os
import signal

from mmengine.hooks import Hook

from eclip_mm.registry import HOOKS


@HOOKS.register_module()
class RecordHook(Hook):

    def __init__(self, file, kill_at):
        self.file, self.kill_at = file, kill_at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        ids = [sample.product_id for sample in data_batch['data_samples']]
        with open(self.file, 'a') as file:
            file.write(json.dumps([runner.iter, ids]) + '\\n')
"""
CHILD = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['record_hook'])
custom_hooks = [dict(type='RecordHook', file={file!r}, kill_at={kill_at})]
train_cfg = dict(val_begin=3)  # validation is not looked at
train_dataloader = dict(num_workers={num_workers}, persistent_workers={num_workers} > 0, {data})
"""
STREAM = """sampler=None, dataset=dict(
    _delete_=True, type='ProductStream', catalogue={path!r},
    num_virtual_workers=4, shuffle_rows=40, pipeline={{{{_base_.train_pipeline}}}})"""


@pytest.fixture(scope='module')
def stream_option(workplace) -> str:
    """The catalogue of the tiny config, in row groups of five products."""
    path = workplace.folder / 'groups.parquet'
    with ParquetCatalogueWriter(path, group_rows=5) as writer:
        for row in read_catalogue(workplace.data / 'train.parquet'):
            writer.write(row)
    return STREAM.format(path=str(path))


def start(workplace, name, num_workers, data, *args, kill_at=-1, work_dir=None):
    """A training in the background and the file of its products."""
    (workplace.folder / 'record_hook.py').write_text(RECORD_HOOK)
    file, config = (workplace.folder / f'{name}.{suffix}' for suffix in ('jsonl', 'py'))
    config.write_text(
        CHILD.format(file=str(file), kill_at=kill_at, num_workers=num_workers, data=data)
    )
    return workplace.train(work_dir or name, *args, config=config), file


def steps(file) -> dict[int, list[str]]:
    return dict(json.loads(line) for line in file.read_text().splitlines())


@pytest.mark.parametrize(('kind', 'resumed_with'), [('map', 3), ('stream', 4)])
def test_the_sequence_is_that_of_an_uninterrupted_run(
    workplace, stream_option, kind, resumed_with
):
    data = stream_option if kind == 'stream' else ''
    whole, whole_file = start(workplace, f'{kind}_whole', 0, data)
    # 8 steps an epoch, a checkpoint every 3: killed in the middle of the second epoch
    killed, killed_file = start(workplace, f'{kind}_killed', 2, data, kill_at=11)
    workplace.wait(f'{kind}_whole', whole)
    assert killed.wait(timeout=300) == -signal.SIGKILL, workplace.log(f'{kind}_killed')[-4000:]
    resumed, resumed_file = start(
        workplace, f'{kind}_resumed', resumed_with, data, '--resume', work_dir=f'{kind}_killed'
    )
    workplace.wait(f'{kind}_killed', resumed)

    expected = steps(whole_file)
    assert list(expected) == list(range(16))
    for epoch in (0, 1):
        ids = sum((expected[8 * epoch + k] for k in range(8)), [])
        assert len(set(ids)) == 64  # every product once
    assert expected[0] != expected[8]
    assert steps(killed_file) == {k: expected[k] for k in range(11)}
    assert steps(resumed_file) == {k: expected[k] for k in range(9, 16)}
