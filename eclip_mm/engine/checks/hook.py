"""The hook that looks at a run as a whole before its first step."""

import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from eclip_mm.engine.checks.contrast import check_batches
from eclip_mm.engine.checks.detector import check_classes, check_strides
from eclip_mm.engine.checks.figures import check_checkpoint_hooks
from eclip_mm.engine.checks.inputs import check_pictures, check_texts
from eclip_mm.engine.sharded import is_sharded
from eclip_mm.registry import HOOKS
from eclip_mm.utils.dist import unwrap_model


@HOOKS.register_module()
class RunCheckHook(Hook):
    """Refuses a training or test whose parts do not fit together, before its first step.

    Each part checks its own arguments. What is seen only with two of them side by side is
    checked here: texts and pictures against the encoders, the batch against the pretext tasks,
    the figure of ``save_best`` against the metrics, a detector against its data and its maps.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        model = unwrap_model(runner.model)
        trains, tests = (
            isinstance(loop, BaseLoop) for loop in (runner._train_loop, runner._test_loop)
        )
        parts = ['train_dataloader', 'val_dataloader'] * trains + ['test_dataloader'] * tests
        parts = {name: runner.cfg.get(name) for name in [*parts, 'custom_hooks', 'default_hooks']}
        network = getattr(model, 'network', None)
        if hasattr(network, 'text_encoder'):
            check_texts(network.text_encoder, parts)
        # the parts of a sharded model run only as parts of the whole; its first step checks sizes
        if hasattr(network, 'image_encoder') and not is_sharded(network):
            check_pictures(network.image_encoder, parts)
        loops = dict(train=trains and runner.train_loop, test=tests and runner.test_loop)
        loops['val'] = isinstance(runner._val_loop, BaseLoop) and runner.val_loop
        datasets = {name: loop.dataloader.dataset for name, loop in loops.items() if loop}
        check_classes(model, datasets)
        if trains:
            check_batches(model, runner.train_loop.dataloader, runner.world_size)
            check_strides(model)
            check_checkpoint_hooks(runner.hooks, loops['val'] and loops['val'].evaluator)

    def before_train(self, runner) -> None:
        if runner.iter >= runner.max_iters:
            print_log(
                f'nothing is left to train: {runner.iter} of {runner.max_iters} steps are done; '
                'raise train_cfg.max_epochs to go on',
                logger='current',
                level=logging.WARNING,
            )
