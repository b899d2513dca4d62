"""Hooks of pretraining."""

import random
import sys

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from eclip_mm.registry import HOOKS
from eclip_mm.utils.seeding import derive_seed


@HOOKS.register_module()
class TeacherUpdateHook(Hook):
    """Moves the momentum model after each optimiser step."""

    # before checkpoints are written, so that they hold both sides of a step
    priority = 'NORMAL'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.optim_wrapper.should_update():  # not while gradients accumulate
            model = getattr(runner.model, 'module', runner.model)
            model.update_teacher(progress=(runner.iter + 1) / runner.max_iters)


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds torch, numpy and random from (seed, step) before every step.

    What a step draws (dropout) then follows from its number alone: a resumed
    run repeats an uninterrupted one without storing generator states, whatever
    validation or data loading drew in between. Ranks differ by their seeds.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        seed = derive_seed(runner.seed, runner.rank, runner.iter)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """A bar with steps done, speed and remaining time.

    Where the output is no terminal it writes a line every ``interval``
    seconds.

    Args:
        interval: seconds between two lines.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: float = 15.0):
        self.interval = interval
        self._bar = None

    def before_train(self, runner) -> None:
        if is_main_process():
            terminal = sys.stderr.isatty()
            self._bar = tqdm(
                total=runner.max_iters, initial=runner.iter, desc='training', unit='step',
                mininterval=0.5 if terminal else self.interval, ascii=not terminal,
                bar_format=None if terminal else '{l_bar}{bar:20}{r_bar}\n')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._bar is not None:
            self._bar.update()

    def after_train(self, runner) -> None:
        if self._bar is not None:
            self._bar.close()
