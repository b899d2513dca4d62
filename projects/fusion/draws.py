"""Random numbers of a step: the same whatever the number of processes, and on resuming."""

import torch
from torch import Tensor

from eclip_mm.utils.dist import local_rows
from eclip_mm.utils.seeding import derive_seed


class StepDraws:
    """Uniform draws that follow from (seed, step, name) for the global batch.

    A model that keeps one as ``prompts`` is given the run's seed by
    ``StepSeedHook``.

    Args:
        seed: of all draws.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed

    def __call__(self, name: str, step: int, num_rows: int, num_ranks: int, *shape: int) -> Tensor:
        """Draws of this rank's rows.

        Args:
            name: of what is drawn: different names give independent numbers.
            step: number of the training step.
            num_rows: B of this rank.
            num_ranks: number of ranks.
            shape: of the draws of one row. It must not depend on the rank: take
                the longest text that there may be, and cut.

        Returns:
            (B, *shape) in [0, 1), of 24 bits, on the CPU.
        """
        generator = torch.Generator().manual_seed(derive_seed('draws', self.seed, step, name))
        draws = torch.rand(num_rows * num_ranks, *shape, generator=generator)
        return draws[local_rows(num_rows)]
