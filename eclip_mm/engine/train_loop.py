"""Epoch-based training that can stop and go on anywhere in an epoch."""

import torch.distributed as dist
from mmengine.runner import EpochBasedTrainLoop

from eclip_mm.registry import LOOPS

from .dist import world
from .finite import NonFiniteLossError


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop with two additions.

    - A run resumed from a checkpoint that was written in the middle of an
      epoch goes on at the next batch of that epoch: the sampler
      (``ResumableSampler``) starts there, nothing is read twice.
    - A non-finite loss stops the run, after a checkpoint of the weights
      before the bad step (``nonfinite_iter_{n}.pth`` in the work dir).
    """

    def __init__(self, runner, dataloader, *args, **kwargs):
        super().__init__(runner, dataloader, *args, **kwargs)
        if len(self.dataloader) == 0:
            raise ValueError(
                f'no batch of {self.dataloader.batch_size} can be made from '
                f'{len(self.dataloader.dataset)} products; lower train_dataloader.batch_size'
            )

    def run_epoch(self) -> None:
        """Iterate one epoch from wherever ``iter`` stands in it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if done:
            sampler = self.dataloader.sampler
            if not hasattr(sampler, 'set_start'):
                raise TypeError(
                    f'cannot go on at batch {done} of epoch {self._epoch}: the train sampler '
                    f'{type(sampler).__name__} has no set_start; use ResumableSampler'
                )
            # the last batch of an epoch may have been a short one
            sampler.set_start(min(done * self.dataloader.batch_size, len(sampler)))
        # `len` of the loader is fixed when it is built; a shortened epoch
        # ends by itself
        for idx, data_batch in enumerate(self.dataloader, start=done):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx, data_batch) -> None:
        try:
            super().run_iter(idx, data_batch)
        except (NonFiniteLossError, RuntimeError) as error:
            if not isinstance(error, NonFiniteLossError):
                if 'non-finite' not in str(error):  # of clip_grad_norm_
                    raise
                ids = [s.product_id for s in data_batch['data_samples']]
                error = NonFiniteLossError(f'{error}; product_ids: {ids}')
            name = f'nonfinite_iter_{self._iter}.pth'
            self.runner.save_checkpoint(
                self.runner.work_dir,
                name,
                by_epoch=False,
                meta=dict(epoch=self._epoch, iter=self._iter),
            )
            if world()[1] > 1:
                dist.barrier()  # a launcher ends all ranks with the first: let rank 0 finish
            raise NonFiniteLossError(
                f'{error}\nThe state before this step is in {self.runner.work_dir}/{name}. '
                'Try a lower learning rate, a longer warm-up or gradient clipping.'
            ) from error
