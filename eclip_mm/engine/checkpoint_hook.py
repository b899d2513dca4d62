"""When old checkpoints are removed."""

from collections import deque

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from eclip_mm.registry import HOOKS


@HOOKS.register_module()
class KeepingCheckpointHook(CheckpointHook):
    """mmengine's hook, which here removes an old checkpoint when the new one is there.

    mmengine's own removes first: a run that is killed while it writes has
    ``max_keep_ckpts - 1`` left, and ``last_checkpoint`` may name one that is gone.
    """

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)  # without a limit of its own

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        keep = self.max_keep_ckpts
        if keep <= 0:  # all are kept
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        self.max_keep_ckpts = keep + 1  # nothing to remove yet
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = keep
        while len(self.keep_ckpt_ids) > keep:
            self._remove(self.keep_ckpt_ids.popleft())
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _remove(self, step) -> None:
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
