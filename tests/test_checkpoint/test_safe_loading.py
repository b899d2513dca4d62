"""Checkpoints: plain data on disk, whole histories after loading, nothing executed."""

import io
import pickle
from contextlib import suppress

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from eclip_mm.checkpoint import safe_loading
from eclip_mm.checkpoint.metadata import read_saved_config
from eclip_mm.checkpoint.plain import from_plain, to_plain
from eclip_mm.checkpoint.safe_loading import load_from_local
from eclip_mm.utils.config_text import ConfigTextError
from helpers.runs import make_runner


@pytest.fixture(autouse=True)
def _installed():
    """As everything that loads a checkpoint begins, whichever test comes first."""
    safe_loading.install()


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


@pytest.mark.slow
def test_a_real_checkpoint_is_plain_and_comes_back_whole(tmp_path):
    runner = make_runner(tmp_path)
    runner.train()
    path = tmp_path / 'iter_4.pth'
    plain = torch.load(path, weights_only=True)
    assert {'state_dict', 'optimizer', 'message_hub', 'meta'} <= set(plain)
    assert any(key.startswith('teacher.') for key in plain['state_dict'])

    other = make_runner(tmp_path, load_from=str(path), resume=True)
    other.load_or_resume()
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key]), key
    ours, theirs = (r.message_hub.log_scalars for r in (runner, other))
    assert 'train/loss_itc' in ours
    for key, buffer in theirs.items():
        assert isinstance(buffer, HistoryBuffer)
        # after the last step the run itself logs on (memory, time): compare what was saved
        steps = len(buffer.data[0])
        assert np.array_equal(buffer.data[0], ours[key].data[0][:steps]), key
        assert np.array_equal(buffer.data[1], ours[key].data[1][:steps]), key
    assert len(theirs['train/loss_itc'].data[0]) == 4
    assert (other.iter, other.epoch) == (4, 0)


def test_histories_and_numpy_values_round_trip():
    hub = MessageHub.get_instance('test_histories_and_numpy_values_round_trip')
    for value in (0.1, 2.5, float('nan')):
        hub.update_scalar('train/loss', value, count=3)
    hub.update_info('best', np.float64(0.25))
    hub.update_info('array', np.arange(3))
    hub.update_info('nested', dict(pair=(1, np.int64(2)), names=['a']))
    stream = io.BytesIO()
    torch.save(to_plain(hub.state_dict()), stream)
    stream.seek(0)
    state = from_plain(torch.load(stream, weights_only=True))
    log, count = state['log_scalars']['train/loss'].data
    assert log[:2].tolist() == [0.1, 2.5] and np.isnan(log[2]) and count.tolist() == [3, 3, 3]
    state['log_scalars']['train/loss'].update(0.5)
    assert state['log_scalars']['train/loss'].mean(1) == 0.5  # it is a history again
    info = state['runtime_info']
    assert info['best'] == 0.25 and type(info['best']) is float
    assert info['array'].tolist() == [0, 1, 2]
    assert info['nested'] == dict(pair=(1, 2), names=['a'])


@pytest.mark.parametrize(
    'load',
    [
        load_from_local,
        CheckpointLoader.load_checkpoint,
        lambda path: load_checkpoint(torch.nn.Linear(1, 1), path),
    ],
)
@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle'])
def test_a_strangers_pickle_is_refused_and_not_run(load, kind, tmp_path):
    harm, path = tmp_path / 'harm', tmp_path / 'stranger.pth'
    content = dict(state_dict=dict(weight=torch.zeros(1)), extra=Malicious(harm))
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(content['extra'], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    with pytest.raises(ValueError, match=r'stranger\.pth contains pickled.*run code.*refused'):
        load(str(path))
    assert not harm.exists()
    with suppress(RuntimeError):  # what would have happened; a bare pickle fails afterwards
        torch.load(path, weights_only=False)
    assert harm.exists()


def test_the_command_in_the_refusal_converts_a_trusted_file(tmp_path):
    path = tmp_path / 'trusted.pth'
    torch.save(dict(state_dict=dict(weight=torch.ones(2)), extra=HistoryBuffer([1.0], [1])), path)
    with pytest.raises(ValueError) as refusal:
        load_from_local(path)
    code = str(refusal.value).split('python -c "')[1].rsplit('"', 1)[0]
    exec(code)
    assert load_from_local(f'{path}.safe.pth')['state_dict']['weight'].tolist() == [1, 1]


@pytest.mark.slow
def test_python_in_a_checkpoint_is_not_run_on_resume(tmp_path):
    make_runner(tmp_path).train()
    path, harm = tmp_path / 'iter_4.pth', tmp_path / 'harm'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta']['config'] = f'open({str(harm)!r}, "w")'
    torch.save(checkpoint, path)
    runner = make_runner(tmp_path, load_from=str(path), resume=True)
    runner.load_or_resume()
    assert runner.iter == 4 and not harm.exists()


def test_plain_weights_load(tmp_path):
    path = tmp_path / 'weights.pth'
    source = torch.nn.Linear(2, 2)
    for content in (source.state_dict(), dict(state_dict=source.state_dict())):
        torch.save(content, path)
        target = torch.nn.Linear(2, 2)
        load_checkpoint(target, str(path))
        assert torch.equal(target.weight, source.weight)


@pytest.mark.parametrize(
    'damage',
    [
        lambda b: b[: len(b) // 2],
        lambda b: b[:64] + b'\0' * 64 + b[128:],
    ],
)
def test_a_damaged_file_is_named(damage, tmp_path):
    path = tmp_path / 'half.pth'
    torch.save(dict(weight=torch.zeros(1000)), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r'half\.pth .* is damaged'):
        load_from_local(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth does not exist'):
        load_from_local(tmp_path / 'nowhere.pth')


def test_a_stored_config_calls_nothing_by_its_import_path(tmp_path):
    """mmengine would take os.mkdir for a model class, and call it."""
    text = f"model = dict(type='os.mkdir', path={str(tmp_path / 'mark')!r})\nlr = 1\n"
    torch.save(dict(state_dict={}, meta=dict(cfg=text)), tmp_path / 'stranger.pth')
    with pytest.raises(ConfigTextError, match=r"stranger\.pth.*'os\.mkdir'"):
        read_saved_config(tmp_path / 'stranger.pth')
    assert not (tmp_path / 'mark').exists()
    text = "model = dict(type='A')\nlr = 1\noptimizer = dict(type='other.Adam')\n"
    torch.save(dict(state_dict={}, meta=dict(cfg=text)), tmp_path / 'good.pth')
    assert read_saved_config(tmp_path / 'good.pth') == dict(model=dict(type='A'))
