"""Epoch-based training that can stop and go on anywhere in an epoch."""

import inspect
import traceback
from pathlib import Path

import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.runner import EpochBasedTrainLoop
from torch.nn.parallel import DistributedDataParallel

from eclip_mm.engine.worker_death import (
    WorkerDiedError,
    deaths_are_known,
    deaths_wait,
    is_worker_death,
)
from eclip_mm.registry import LOOPS
from eclip_mm.utils.finite import (
    NonFiniteGradientError,
    NonFiniteLossError,
    refuse_nonfinite_gradients,
)


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop with three additions.

    - A run resumed from a checkpoint that was written in the middle of an
      epoch goes on at the next batch of that epoch: the sampler
      (``ResumableSampler``) or the stream (``ProductStream``) starts there,
      nothing is used twice.
    - A non-finite loss or gradient stops the run, after a checkpoint of the weights
      before the bad step (``nonfinite_iter_{n}.pth`` in the work dir).
    - A data-loading worker that dies stops the run between two steps, after a
      checkpoint of all steps before (``worker_died_iter_{n}.pth``), which
      ``--resume`` goes on from. With several ranks the one whose worker it was writes
      it; where the model is divided over them none can, and ``--resume`` goes on from
      the checkpoint before.
    """

    def __init__(self, runner, dataloader, *args, **kwargs):
        super().__init__(runner, dataloader, *args, **kwargs)
        if len(self.dataloader) == 0:
            raise ValueError(
                f'no batch of {self.dataloader.batch_size} can be made from '
                f'{len(self.dataloader.dataset)} products; lower train_dataloader.batch_size'
            )
        self._stream = None
        if hasattr(self.dataloader.dataset, 'layout'):
            self._stream = self.dataloader.dataset
            self._stream.batch_size = self.dataloader.batch_size
            if not self.dataloader.drop_last:
                raise ValueError(
                    f'{type(self._stream).__name__} gives whole batches only; set '
                    'train_dataloader.drop_last=True'
                )

    def run(self):
        """Train; returns the model."""
        refuse_nonfinite_gradients(self.runner.optim_wrapper)
        try:
            return super().run()
        # wherever it was: workers live on during validation
        except (RuntimeError, ConnectionError, EOFError) as error:
            with deaths_are_known():
                if not is_worker_death(error):
                    raise
                advice = self._save_after_death()
                # the other workers end with their iterator, which loader and traceback hold
                self.dataloader._iterator = None
                traceback.clear_frames(error.__traceback__)
            raise WorkerDiedError(f'A DataLoader worker died: {error}\n{advice}') from error

    def run_epoch(self) -> None:
        """Iterate one epoch from wherever ``iter`` stands in it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        self._start_after(done)
        # `len` of the loader is fixed when it is built; a shortened epoch ends by itself
        for idx, data_batch in enumerate(self.dataloader, start=done):
            with deaths_wait():
                self.run_iter(idx, data_batch)
        if self._stream is not None:
            self._stream.on_epoch_end(self._epoch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _start_after(self, done: int) -> None:
        """Let the next epoch of the loader begin after so many batches."""
        if self._stream is not None:
            self._stream.set_epoch(self._epoch)
            self._stream.set_start(done * self.dataloader.batch_size)
        elif done:
            sampler = self.dataloader.sampler
            if not hasattr(sampler, 'set_start'):
                raise TypeError(
                    f'cannot go on at batch {done} of epoch {self._epoch}: the train sampler '
                    f'{type(sampler).__name__} has no set_start; use ResumableSampler'
                )
            # the last batch of an epoch may have been a short one
            sampler.set_start(min(done * self.dataloader.batch_size, len(sampler)))

    def _save(self, name: str, this_rank: bool = False) -> None:
        """Write a checkpoint of the steps so far to the work dir.

        All ranks call it, and mmengine or ``ShardedRunner`` decides who writes; with
        ``this_rank`` one rank calls it and writes.
        """
        save = type(self.runner).save_checkpoint
        if this_rank:
            save = inspect.unwrap(save)  # past mmengine's `master_only`
        save(
            self.runner,
            self.runner.work_dir,
            name,
            by_epoch=False,
            meta=dict(epoch=self._epoch, iter=self._iter),
        )

    def _save_after_death(self) -> str:
        """Save all steps if that is possible; what to tell the user."""
        advice = (
            'Often the system had no memory left and killed it: lower num_workers (of a '
            'ProductStream num_virtual_workers and shuffle_rows, or write smaller row groups).'
        )
        # Between two steps every rank holds the same, and in the next the others wait for this
        # one. Weights that are divided over the ranks cannot be written by one of them.
        if get_dist_info()[1] == 1 or isinstance(self.runner.model, DistributedDataParallel):
            name = f'worker_died_iter_{self._iter}.pth'
            self._save(name, this_rank=True)
            folder = Path(self.runner.work_dir)
            (folder / 'last_checkpoint').write_text(str(folder / name))
            return f'{advice} All {self._iter} steps are in {folder / name}: go on with --resume.'
        return f'{advice} Go on from the last checkpoint with --resume.'

    def run_iter(self, idx, data_batch) -> None:
        try:
            super().run_iter(idx, data_batch)
        except (NonFiniteGradientError, NonFiniteLossError) as error:
            if isinstance(error, NonFiniteGradientError):
                ids = [s.product_id for s in data_batch['data_samples']]
                error = NonFiniteLossError(f'{error}; product_ids: {ids}')
            name = f'nonfinite_iter_{self._iter}.pth'
            self._save(name)
            if get_dist_info()[1] > 1:
                dist.barrier()  # a launcher ends all ranks with the first: let rank 0 finish
            raise NonFiniteLossError(
                f'{error}\nThe state before this step is in {self.runner.work_dir}/{name}. '
                'Try a lower learning rate, a longer warm-up or gradient clipping.'
            ) from error
