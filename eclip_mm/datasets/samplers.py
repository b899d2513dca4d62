"""The training sampler: the same global batches on any number of ranks, from any place."""

from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from eclip_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler):
    """Deals a permutation of (seed, epoch) to the ranks like cards.

    Rank r of W takes the places r, r + W, r + 2W, ... of the permutation. The k-th global batch of
    B samples is therefore the same set for every number of ranks that divides B. A remainder that
    W does not divide is dropped at the end.

    An index is ``pass * dataset.epoch_stride + place``, from which the dataset knows the pass;
    datasets without ``epoch_stride`` get the plain place. Iterating calls
    ``dataset.on_epoch_start(epoch)``, if the dataset has it, in the main process.

    Args:
        dataset: the dataset.
        shuffle: draw a permutation; otherwise keep the order of the dataset.
        seed: seed of the permutations, the same on all ranks. Defaults to one that the ranks agree
            upon.
        num_passes: passes over the dataset that make one epoch, each in an order of its own. A
            small dataset ends after a few batches; what happens once an epoch (validation,
            starting workers) would then take longer than the training.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None, num_passes: int = 1
    ) -> None:
        if num_passes < 1:
            raise ValueError(f"ResumableSampler: 'num_passes' is {num_passes}; give at least 1")
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self._start = 0
        self.num_passes = num_passes
        self.num_samples = num_passes * len(dataset) // self.world_size
        if self.num_samples == 0:
            raise ValueError(
                f'ResumableSampler: a dataset of {len(dataset)} samples cannot be dealt to '
                f'{self.world_size} ranks; use fewer ranks'
            )

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank in this epoch, from the place that was set."""
        start, self._start = self._start, 0
        if hasattr(self.dataset, 'on_epoch_start'):
            self.dataset.on_epoch_start(self.epoch)
        order = self._order()[: self.num_samples * self.world_size]
        mine = order[self.rank :: self.world_size][start:]
        return iter(mine.tolist())

    def _order(self) -> torch.Tensor:
        first = self.epoch * self.num_passes
        return torch.cat([self._pass(first + k) for k in range(self.num_passes)])

    def _pass(self, number: int) -> torch.Tensor:
        """Indices of one pass over the dataset, counted from the start of training."""
        offset = number * getattr(self.dataset, 'epoch_stride', 0)
        if not self.shuffle:
            return offset + torch.arange(len(self.dataset))
        generator = torch.Generator()
        # Mixed, so that pass 1 of seed 0 is not pass 0 of seed 1.
        generator.manual_seed((self.seed * 0x9E3779B97F4A7C15 + number) % 2**63)
        return offset + torch.randperm(len(self.dataset), generator=generator)

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, even if the next one begins in the middle."""
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def set_start(self, num_samples_this_rank: int) -> None:
        """Begin the next iteration after samples that were already used.

        The iteration after that starts at the beginning again.

        Args:
            num_samples_this_rank: samples of the epoch that this rank has used.

        Raises:
            ValueError: it is not in [0, ``len(self)``].
        """
        if not 0 <= num_samples_this_rank <= self.num_samples:
            raise ValueError(
                f'ResumableSampler: cannot begin at sample {num_samples_this_rank} of '
                f'{self.num_samples}; the checkpoint is of another dataset, batch size or '
                'number of ranks'
            )
        self._start = num_samples_this_rank
