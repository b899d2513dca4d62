"""Epoch-based training that can be resumed in the middle of an epoch."""

import inspect
import traceback
from pathlib import Path

import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.runner import EpochBasedTrainLoop
from torch.nn.parallel import DistributedDataParallel

from eclip_mm.engine.hooks import TeacherUpdateHook
from eclip_mm.engine.worker_death import (
    WorkerDiedError,
    defer_worker_death,
    ignore_worker_death,
    is_worker_death,
)
from eclip_mm.models.stepwise import StepwiseModel
from eclip_mm.registry import LOOPS
from eclip_mm.utils.dist import unwrap_model
from eclip_mm.utils.files import write_whole_text
from eclip_mm.utils.finite import (
    NonFiniteGradientError,
    NonFiniteLossError,
    refuse_nonfinite_gradients,
)


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop with three additions.

    - A run that resumes from a checkpoint in the middle of an epoch continues with
      the next batch of that epoch: the sampler (``ResumableSampler``) or the stream
      (``ProductStream``) starts there, so that no product is used twice.
    - If a loss or gradient is not finite, the run writes a checkpoint of the state
      before that step (``nonfinite_iter_{n}.pth`` in the work dir) and stops. A
      gradient scaler may skip the step instead, see
      :func:`~eclip_mm.utils.finite.refuse_nonfinite_gradients`.
    - If a data-loading worker dies, the run stops between two steps, after a
      checkpoint of all completed steps (``worker_died_iter_{n}.pth``), from which
      ``--resume`` continues. With several ranks, the rank whose worker died writes
      it. A single rank cannot write a sharded model, so ``--resume`` then continues
      from the last regular checkpoint.

    Raises:
        ValueError: the data set is smaller than a batch, or a stream is used without
            ``drop_last=True``.
    """

    def __init__(self, runner, dataloader, *args, **kwargs):
        super().__init__(runner, dataloader, *args, **kwargs)
        if len(self.dataloader) == 0:
            raise ValueError(
                f'{len(self.dataloader.dataset)} products do not fill a batch of '
                f'{self.dataloader.batch_size}; lower train_dataloader.batch_size'
            )
        self._stream = None
        if hasattr(self.dataloader.dataset, 'layout'):
            self._stream = self.dataloader.dataset
            self._stream.batch_size = self.dataloader.batch_size
            if not self.dataloader.drop_last:
                raise ValueError(
                    f'{type(self._stream).__name__} yields full batches only; set '
                    'train_dataloader.drop_last=True'
                )

    def run(self):
        """Train the model and return it.

        Raises:
            NonFiniteLossError: a loss or gradient is not finite.
            WorkerDiedError: a data-loading worker died.
            ValueError: no hook finishes the steps of the model.
        """
        self._check_steps_are_finished()
        model = unwrap_model(self.runner.model)
        model = model if isinstance(model, StepwiseModel) else None
        is_read = refuse_nonfinite_gradients(self.runner.optim_wrapper, model)
        if model is not None:
            model.is_read_later = is_read
        try:
            return super().run()
        # caught here and not in `run_epoch`, since workers may die during validation as well
        except (RuntimeError, ConnectionError, EOFError) as error:
            with ignore_worker_death():
                if not is_worker_death(error):
                    raise
                advice = self._save_after_death()
                # the other workers end with their iterator, to which loader and traceback refer
                self.dataloader._iterator = None
                traceback.clear_frames(error.__traceback__)
            raise WorkerDiedError(f'A DataLoader worker died: {error}\n{advice}') from error
        finally:
            if model is not None:  # another loop may not read the losses
                model.is_read_later = False

    def _check_steps_are_finished(self) -> None:
        """Without the hook each checkpoint would be one step behind its weights."""
        model, hooks = unwrap_model(self.runner.model), self.runner.hooks
        if isinstance(model, StepwiseModel) and not any(
            isinstance(hook, TeacherUpdateHook) for hook in hooks
        ):
            raise ValueError(
                f'{type(model).__name__} needs TeacherUpdateHook, which finishes its steps; set '
                "default_hooks.teacher=dict(type='TeacherUpdateHook')"
            )

    def run_epoch(self) -> None:
        """Train from the current iteration to the end of its epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        self._start_after(done)
        # the loader ends a shortened epoch itself; its `len` is always that of a whole one
        for idx, data_batch in enumerate(self.dataloader, start=done):
            with defer_worker_death():
                self.run_iter(idx, data_batch)
        if self._stream is not None:
            self._stream.on_epoch_end(self._epoch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _start_after(self, done: int) -> None:
        """Make the next epoch of the loader start after ``done`` batches."""
        if self._stream is not None:
            self._stream.set_epoch(self._epoch)
            self._stream.set_start(done * self.dataloader.batch_size)
        elif done:
            sampler = self.dataloader.sampler
            if not hasattr(sampler, 'set_start'):
                raise TypeError(
                    f'cannot resume at batch {done} of epoch {self._epoch}: the train sampler '
                    f'{type(sampler).__name__} has no set_start; use ResumableSampler'
                )
            # the last batch of an epoch may be smaller
            sampler.set_start(min(done * self.dataloader.batch_size, len(sampler)))

    def _save(self, name: str, this_rank: bool = False) -> None:
        """Write a checkpoint of the completed steps to the work dir.

        Args:
            name: of the file.
            this_rank: only this rank calls the function, and it writes the file.
                Otherwise all ranks call it, and mmengine or ``ShardedRunner`` decides
                which one writes.
        """
        save = type(self.runner).save_checkpoint
        if this_rank:
            save = inspect.unwrap(save)  # without mmengine's decorator `master_only`
        save(
            self.runner,
            self.runner.work_dir,
            name,
            by_epoch=False,
            meta=dict(epoch=self._epoch, iter=self._iter),
        )

    def _save_after_death(self) -> str:
        """Save the completed steps if one rank can do so; returns advice for the user."""
        advice = (
            'Often the system had no memory left and killed it: lower num_workers (of a '
            'ProductStream num_virtual_workers and shuffle_rows, or write smaller row groups).'
        )
        # Between two steps all ranks have the same state, and the others wait for this one in the
        # next step. A single rank cannot write weights that are sharded over all of them.
        if get_dist_info()[1] == 1 or isinstance(self.runner.model, DistributedDataParallel):
            name = f'worker_died_iter_{self._iter}.pth'
            self._save(name, this_rank=True)
            folder = Path(self.runner.work_dir)
            write_whole_text(folder / 'last_checkpoint', str(folder / name))
            return f'{advice} All {self._iter} steps are in {folder / name}; use --resume.'
        return f'{advice} Use --resume to continue from the last checkpoint.'

    def run_iter(self, idx, data_batch) -> None:
        try:
            super().run_iter(idx, data_batch)
        except (NonFiniteGradientError, NonFiniteLossError) as error:
            if isinstance(error, NonFiniteGradientError):
                ids = [s.product_id for s in data_batch['data_samples']]
                error = NonFiniteLossError(f'{error}; product_ids: {ids}')
            model = unwrap_model(self.runner.model)
            if isinstance(model, StepwiseModel):
                model.discard_step()
            name = f'nonfinite_iter_{self._iter}.pth'
            self._save(name)
            if get_dist_info()[1] > 1:
                # a launcher kills all ranks when the first one ends: wait until rank 0 has saved
                dist.barrier()
            raise NonFiniteLossError(
                f'{error}\nThe state before this step is in {self.runner.work_dir}/{name}. '
                'Try a lower learning rate, a longer warm-up or gradient clipping.'
            ) from error
