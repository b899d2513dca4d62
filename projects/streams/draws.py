"""The tasks and the mismatched texts of a step, the same whatever the number of processes."""

from dataclasses import dataclass

import torch
from mmengine.dist import get_dist_info
from torch import Tensor

from eclip_mm.models.heads.itm_head import draw_hard_negatives
from eclip_mm.utils.dist import local_rows
from eclip_mm.utils.seeding import derive_seed
from projects.fusion.draws import StepDraws

#: what a step may do alone: match pairs, predict words, predict regions
TASKS = ('itm', 'mlm', 'mrm')


@dataclass
class Choices:
    """Choices for the rows of one rank.

    Attributes:
        task: the task of the step; None where every step does all.
        is_pair: (B,) bool, False where a picture gets another product's text.
        partner: (B,) int64 row of the global batch that this text comes from.
    """

    task: str | None
    is_pair: Tensor
    partner: Tensor


class StepChoices(StepDraws):
    """Draws, and the choices that are made by them.

    Args:
        mismatch_prob: probability that a picture gets the text of another
            product.
        tasks: name -> share of the steps that do this task alone; None if
            every step does all. Only ``itm`` is then given mismatched texts.
        seed: of all draws.

    Raises:
        KeyError: a task that is not known.
        ValueError: ``mismatch_prob`` is no probability, or a share is not
            positive.
    """

    def __init__(
        self, mismatch_prob: float = 0.0, tasks: dict[str, float] | None = None, seed: int = 0
    ):
        super().__init__(seed)
        if not 0 <= mismatch_prob <= 1:
            raise ValueError(f'mismatch_prob must lie in [0, 1], got {mismatch_prob}')
        if unknown := sorted(set(tasks or ()) - set(TASKS)):
            raise KeyError(f'tasks has unknown names {unknown}; known: {", ".join(TASKS)}')
        if tasks is not None and not (tasks and all(share > 0 for share in tasks.values())):
            raise ValueError(f'tasks must have shares above 0, got {tasks}')
        self.mismatch_prob = mismatch_prob
        self.tasks = tasks

    def rows(self, name: str, step: int, num_rows: int, *shape: int) -> Tensor:
        """(B, *shape) draws of this rank's B rows."""
        return self(name, step, num_rows, get_dist_info()[1], *shape)

    def choose(self, ids: Tensor, num_rows: int, step: int) -> Choices:
        """Choose.

        Args:
            ids: (G,) int64 identity of each product of the global batch, on the CPU.
            num_rows: B of this rank.
            step: number of the training step.
        """
        task = None
        if self.tasks is not None:  # one draw for all ranks
            generator = torch.Generator().manual_seed(derive_seed('task', self.seed, step))
            task = draw_task(self.tasks, float(torch.rand((), generator=generator)))
        partner = torch.arange(len(ids))[local_rows(num_rows)]
        is_pair = torch.ones(num_rows, dtype=torch.bool)
        if self.mismatch_prob and task in (None, 'itm'):
            draws = self.rows('mismatch', step, num_rows, 2)
            is_pair = draws[:, 0] >= self.mismatch_prob
            others = draw_others(ids[partner], ids, draws[:, 1])
            partner = torch.where(is_pair, partner, others)
        return Choices(task, is_pair, partner)


def draw_task(tasks: dict[str, float], draw: float) -> str:
    """The task at a uniform draw in [0, 1), each with its share."""
    names, shares = list(tasks), torch.tensor(list(tasks.values()), dtype=torch.float64)
    place = torch.searchsorted((shares / shares.sum()).cumsum(dim=0), draw, right=True)
    return names[min(int(place), len(names) - 1)]


def draw_others(own_ids: Tensor, ids: Tensor, draws: Tensor) -> Tensor:
    """(B,) int64: a row of another product for each row, each equally likely.

    Args:
        own_ids: (B,) int64 identities of this rank's rows.
        ids: (G,) int64 of the global batch.
        draws: (B,) in [0, 1).

    Raises:
        ValueError: the global batch has one product only.
    """
    same = own_ids[:, None] == ids
    if bool(same.all(dim=1).any()):
        raise ValueError(
            'a text of another product is needed, but the global batch has one product only: '
            'raise `train_dataloader.batch_size`'
        )
    return draw_hard_negatives(torch.zeros(same.shape), same, draws)
