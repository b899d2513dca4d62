"""Hooks of pretraining."""

import random
import sys

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from eclip_mm.apis.catalogue_names import encode_token_ids
from eclip_mm.engine.sharded import unsharded
from eclip_mm.registry import HOOKS, TRANSFORMS
from eclip_mm.utils.dist import unwrap_model
from eclip_mm.utils.seeding import derive_seed


@HOOKS.register_module()
class TeacherUpdateHook(Hook):
    """Completes each step and moves the momentum model after the optimiser.

    A training that is not resumed begins at step 0, with empty queues and with
    a momentum model that equals the model, whatever ``load_from`` has brought.
    """

    # before checkpoints are written, so that they hold both sides of a step
    priority = 'NORMAL'

    def before_train(self, runner) -> None:
        if runner.iter == 0:
            unwrap_model(runner.model).begin_training()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        model = unwrap_model(runner.model)
        model.finish_step()
        if runner.optim_wrapper.should_update():  # not while gradients accumulate
            model.update_teacher(progress=(runner.iter + 1) / runner.max_iters)


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds torch, numpy and random before every step, from the run's seed, rank and step.

    The random numbers of a step (dropout) then depend only on its number, whatever
    validation or data loading have drawn in between. A resumed run therefore repeats
    an uninterrupted one without storing the states of generators.
    ``randomness.seed`` also becomes the seed of the prompts and of the augmentations,
    so that runs with different seeds have nothing but the data in common.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        model = unwrap_model(runner.model)
        if model.prompts is not None:
            model.prompts.seed = runner.seed
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, 'seed'):
            dataset.seed = runner.seed  # workers start later, with a copy of the data set

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        seed = derive_seed(runner.seed, runner.rank, runner.iter)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Shows a progress bar with completed steps, speed and remaining time.

    If the output is not a terminal, it writes a line every ``interval`` seconds
    instead.

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
                total=runner.max_iters,
                initial=runner.iter,
                desc='training',
                unit='step',
                mininterval=0.5 if terminal else self.interval,
                ascii=not terminal,
                bar_format=None if terminal else '{l_bar}{bar:20}{r_bar}\n',
            )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._bar is not None:
            self._bar.update()

    def after_train(self, runner) -> None:
        if self._bar is not None:
            self._bar.close()


@HOOKS.register_module()
class ClassPromptHook(Hook):
    """Encodes the class prompts of ``ZeroShotClassification`` before an evaluation.

    Args:
        tokenizer: config of the tokenizer, the same as in the pipeline.
        max_length: prompts are cut to this number of tokens.
        batch_size: number of prompts that are encoded at a time.
    """

    def __init__(self, tokenizer: dict, max_length: int = 55, batch_size: int = 256):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.batch_size = batch_size

    def before_val_epoch(self, runner) -> None:
        with unsharded(runner.model):
            self._encode(runner, runner.val_loop.evaluator.metrics)

    def before_test_epoch(self, runner) -> None:
        with unsharded(runner.model):
            self._encode(runner, runner.test_loop.evaluator.metrics)

    def _encode(self, runner, metrics) -> None:
        transform = TRANSFORMS.build(
            dict(type='TokenizeText', tokenizer=self.tokenizer, max_length=self.max_length)
        )
        model = unwrap_model(runner.model)
        for metric in metrics:
            prompts = getattr(metric, 'class_prompts', None)
            if not prompts:
                continue
            texts = [text for of_class in prompts.values() for text in of_class]
            token_ids = [transform(dict(text=text))['input_ids'] for text in texts]
            feats = encode_token_ids(model, token_ids, self.batch_size).cpu()
            counts = [len(of_class) for of_class in prompts.values()]
            metric.set_class_feats(list(prompts), list(feats.split(counts)))
