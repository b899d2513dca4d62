"""Hooks that decide what a checkpoint contains and when an old one is removed."""

import logging
from collections import deque

import transformers
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log

from eclip_mm.checkpoint import safe_loading
from eclip_mm.checkpoint.fit import check_fit
from eclip_mm.checkpoint.metadata import encoder_architectures
from eclip_mm.checkpoint.names import fit_towers
from eclip_mm.checkpoint.old_pooling import check_old_rules
from eclip_mm.checkpoint.plain import from_plain, to_plain
from eclip_mm.datasets.checkpoint_tokenizer import check_tokenizer, tokenizer_state
from eclip_mm.engine.resume_check import check_resumable, training_state
from eclip_mm.engine.resume_settings import check_has_state, check_settings
from eclip_mm.registry import HOOKS
from eclip_mm.utils.dist import unwrap_model


@HOOKS.register_module()
class KeepingCheckpointHook(CheckpointHook):
    """mmengine's hook with two differences.

    An old checkpoint is removed after the new one is written, and a validation without the
    figure of ``save_best``, such as retrieval among products with one photo each, is a warning
    and not the end of the training.

    mmengine removes the old one first. A run that is killed while it writes then has
    only ``max_keep_ckpts - 1`` checkpoints left, and ``last_checkpoint`` may name one
    that no longer exists.
    """

    _has_warned = False

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)  # without mmengine's maximal length

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        keep = self.max_keep_ckpts
        if keep <= 0:  # keep all
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        self.max_keep_ckpts = keep + 1  # so that mmengine removes nothing
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = keep
        while len(self.keep_ckpt_ids) > keep:
            self._remove(self.keep_ckpt_ids.popleft())
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner, metrics) -> None:
        missing = [key for key in self.save_best or () if key not in (*metrics, 'auto')]
        if missing and not self._has_warned:
            self._has_warned = True
            print_log(
                f'save_best={", ".join(missing)}: the validation set does not give it (a warning '
                'above says why), so no best checkpoint is kept. It gives '
                f'{", ".join(key for key in metrics if not key.endswith("_chance"))}',
                logger='current',
                level=logging.WARNING,
            )
        if metrics:  # mmengine passes over None
            super()._save_best_checkpoint(runner, {**metrics, **dict.fromkeys(missing)})

    def _remove(self, step) -> None:
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Converts checkpoints to plain data when they are written, and back when they are read.

    A written checkpoint also gets its metadata (:mod:`~eclip_mm.checkpoint.metadata`).
    A checkpoint that is read is compared with the run that reads it: the shapes of its
    weights, its vocabulary, and if a training is resumed its batches and epochs
    (:mod:`~eclip_mm.engine.resume_check`), optimiser and schedule
    (:mod:`~eclip_mm.engine.resume_settings`).
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        safe_loading.install()
        self._tokenizer: dict | None = None

    def before_train(self, runner) -> None:
        self._tokenizer = tokenizer_state(runner.cfg)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        model = unwrap_model(runner.model)
        checkpoint['meta'].update(
            encoders=encoder_architectures(model),
            tokenizer=self._tokenizer,
            training=training_state(runner),
            transformers_version=transformers.__version__,
        )
        for key in list(checkpoint):
            if key != 'state_dict':
                checkpoint[key] = to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        meta = checkpoint.get('meta', {})
        # When mmengine resumes it runs this text as Python, to compare a field that it no longer
        # writes. Only a manipulated file can have it.
        meta.pop('config', None)
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = from_plain(checkpoint['message_hub'])
        model, weights = unwrap_model(runner.model), checkpoint.get('state_dict', checkpoint)
        if runner._resume:
            check_has_state(checkpoint)
        fit_towers(model, weights, meta.get('transformers_version'), resumes=runner._resume)
        if runner._resume or not runner._load_from:
            check_fit(model, weights, all_of_them=True)
        elif hasattr(model, 'network'):  # of a detector, mmdet replaces what does not fit
            check_fit(model, weights, all_of_them=False, prefix='network.')
        if runner._resume or not runner._load_from:
            check_old_rules(model, meta.get('encoders') or {})
        if runner._resume:
            check_resumable(runner, meta.get('training'))
            check_tokenizer(runner.cfg.get('train_dataloader'), meta)
            check_settings(runner, checkpoint)
        elif not runner._load_from:  # a new training from old weights may change the vocabulary
            for key in ('test_dataloader', 'custom_hooks', 'default_hooks'):
                check_tokenizer(runner.cfg.get(key), meta)
