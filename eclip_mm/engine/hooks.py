"""Hooks of pretraining."""

import random

import numpy as np
import torch
from mmengine.hooks import Hook

from eclip_mm.registry import HOOKS


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
        seed = np.random.SeedSequence([runner.seed, runner.rank, runner.iter]).generate_state(1)[0]
        random.seed(int(seed))
        np.random.seed(seed)
        torch.manual_seed(int(seed))
