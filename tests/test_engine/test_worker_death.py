"""A killed worker stops the training between two steps, and no step is lost."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch.multiprocessing import ProcessRaisedException
from torch.utils.data import DataLoader, Dataset

from eclip_mm.engine.worker_death import WorkerDiedError, defer_worker_death
from eclip_mm.registry import DATASETS, HOOKS
from helpers.processes import start_ranks
from helpers.rank_runs import assert_same_training, load, train_rank
from helpers.runs import FakeProducts, make_runner

pytestmark = pytest.mark.slow


@DATASETS.register_module(force=True)
class DeadlyProducts(FakeProducts):
    """Kills its worker once at one item, as the system does when memory is short.

    It waits for the first step of the training, see :class:`LetThemDie`.
    """

    def __init__(self, flag: str, at: int, size: int = 16):
        super().__init__(size)
        self.flag, self.at = flag, at

    def __getitem__(self, index):
        if index % len(self) == self.at and not os.path.exists(self.flag):
            while not os.path.exists(f'{self.flag}.now'):
                time.sleep(0.01)
            with open(self.flag, 'w'):
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@HOOKS.register_module(force=True)
class LetThemDie(Hook):
    """Lets :class:`DeadlyProducts` kill their worker after the first step."""

    def __init__(self, flag: str):
        self.flag = flag

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        with open(f'{self.flag}.now', 'w'):
            pass

    def before_save_checkpoint(self, runner, checkpoint):
        # the end of any process makes torch look for dead workers again
        subprocess.run(['true'], check=True)
        time.sleep(0.1)


@HOOKS.register_module(force=True)
class KillDuringValidation(Hook):
    """Kills a worker of the training, which stays alive, during a validation."""

    def before_val_epoch(self, runner):
        (worker,) = runner.train_loop.dataloader._iterator._workers
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(1)  # long enough for the signal


def loader(flag, **options):
    return dict(
        batch_size=4,
        num_workers=1,
        drop_last=True,
        sampler=dict(type='ResumableSampler', shuffle=False),
        collate_fn=dict(type='collate_products'),
        dataset=dict(type='DeadlyProducts', flag=str(flag), at=9),
        **options,
    )


def test_the_training_resumes_as_if_no_worker_had_died(tmp_path):
    no_checkpoints = dict(checkpoint=None, sampler_seed=dict(type='DistSamplerSeedHook'))
    flag = tmp_path / 'killed'
    runner = make_runner(
        tmp_path / 'a',
        train_dataloader=loader(flag),
        default_hooks=no_checkpoints,
        hooks=[dict(type='LetThemDie', flag=str(flag))],
    )
    with pytest.raises(WorkerDiedError, match=r'(?s)DataLoader worker.*--resume') as caught:
        runner.train()
    subprocess.run(['true'], check=True)  # no error is left that would be raised again
    steps = runner.iter
    assert 1 <= steps < 3  # item 9 is of the third batch; its worker runs ahead
    path = tmp_path / 'a' / f'worker_died_iter_{steps}.pth'
    assert str(path) in str(caught.value)
    assert (tmp_path / 'a/last_checkpoint').read_text() == str(path)

    resumed = make_runner(
        tmp_path / 'a',
        train_dataloader=loader(flag),
        default_hooks=no_checkpoints,
        resume=True,
    )
    resumed.train()
    untouched = make_runner(
        tmp_path / 'b', train_dataloader=loader(flag), default_hooks=no_checkpoints
    )
    untouched.train()
    assert resumed.iter == untouched.iter == 4
    for key, value in untouched.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key


def test_a_worker_that_dies_during_validation(tmp_path):
    flag = tmp_path / 'not_by_itself'
    flag.touch()
    options = dict(
        epochs=2,
        train_dataloader=loader(flag, persistent_workers=True),
        default_hooks=dict(checkpoint=None, sampler_seed=dict(type='DistSamplerSeedHook')),
    )
    validation = dict(
        val_dataloader=dict(
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='collate_products'),
            dataset=dict(type='FakeProducts', size=2),
        ),
        val_cfg=dict(),
        val_evaluator=dict(type='Evaluator', metrics=[]),
        hooks=[dict(type='KillDuringValidation')],
    )
    runner = make_runner(tmp_path / 'a', **options, **validation)
    with pytest.raises(WorkerDiedError, match='worker_died_iter_4.pth'):
        runner.train()
    resumed = make_runner(tmp_path / 'a', **options, resume=True)
    resumed.train()
    untouched = make_runner(tmp_path / 'b', **options)
    untouched.train()
    assert resumed.iter == untouched.iter == 8
    for key, value in untouched.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key


def train_two(rank, folder, name='died', hooks=(dict(type='LetThemDie'),), **options):
    """Item 9 is dealt to rank 1."""
    flag = f'{folder}/killed'
    hooks = [dict(hook, flag=flag) for hook in hooks]
    train_rank(f'{folder}/{name}', train_dataloader=loader(flag), hooks=hooks, **options)


def resume_two(rank, folder):
    train_two(rank, folder, hooks=(), resume=True)


def train_two_untouched(rank, folder):
    train_two(rank, folder, 'untouched', hooks=())


@pytest.mark.alone
def test_the_rank_whose_worker_died_saves_what_all_have(tmp_path):
    with pytest.raises(ProcessRaisedException):
        start_ranks(train_two, str(tmp_path))
    (path,) = (tmp_path / 'died').glob('worker_died_iter_*.pth')
    assert path.stem in ('worker_died_iter_1', 'worker_died_iter_2')
    # after step 2 rank 0 writes its own checkpoint, at the same time: either file holds all steps
    last = Path((tmp_path / 'died/last_checkpoint').read_text())
    assert last.stem in (path.stem, path.stem.removeprefix('worker_died_')) and last.exists()
    start_ranks(resume_two, str(tmp_path))
    start_ranks(train_two_untouched, str(tmp_path))
    # each rank logs the loss of its own products, and the first step was logged by rank 1
    assert_same_training(
        load(tmp_path / 'died'), load(tmp_path / 'untouched'), rtol=0, atol=0, ranks_differ=True
    )


class Numbers(Dataset):
    def __len__(self):
        return 1000

    def __getitem__(self, index):
        time.sleep(0.01)
        return index


def test_a_death_is_raised_after_the_step_and_not_in_it():
    batches = iter(DataLoader(Numbers(), num_workers=1, multiprocessing_context='fork'))
    next(batches)
    (worker,) = batches._workers
    finished = False
    with pytest.raises(RuntimeError, match=r'DataLoader worker \(pid'), defer_worker_death():
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(1)  # long enough for the signal, with which torch would raise here
        finished = True
    assert finished


def test_without_a_death_the_handler_stays():
    before = signal.getsignal(signal.SIGCHLD)
    with defer_worker_death():
        assert signal.getsignal(signal.SIGCHLD) is not before
    assert signal.getsignal(signal.SIGCHLD) is before
