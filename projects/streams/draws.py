"""The random choices of a step, the same whatever the number of processes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eclip_mm.models.heads.itm_head import draw_hard_negatives
from eclip_mm.utils.seeding import derive_seed

#: what a step may do alone: match pairs, predict words, predict regions
TASKS = ('itm', 'mlm', 'mrm')


@dataclass
class StepDraws:
    """Choices for the rows of one rank.

    Attributes:
        task: the task of the step; None where every step does all.
        is_pair: (B,) bool, False where a picture gets another product's text.
        partner: (B,) int64 row of the global batch that this text comes from.
        seed: from which the masks of the step follow.
    """

    task: str | None
    is_pair: Tensor
    partner: Tensor
    seed: int


class StepSampler:
    """Draws for the global batch from (seed, step).

    ``StepSeedHook`` sets the seed of a run. A resumed run continues as if it
    had never stopped.

    Args:
        mismatch_prob: probability that a picture gets the text of another
            product.
        tasks: name -> share of the steps that do this task alone; None if
            every step does all. Only ``itm`` is then given mismatched texts.
        seed: seed of all choices.

    Raises:
        ValueError: ``mismatch_prob`` is no probability, or a share is not
            positive.
    """

    def __init__(
        self,
        mismatch_prob: float = 0.0,
        tasks: dict[str, float] | None = None,
        seed: int = 0,
    ):
        if not 0 <= mismatch_prob <= 1:
            raise ValueError(f'mismatch_prob must lie in [0, 1], got {mismatch_prob}')
        if tasks is not None and not (tasks and all(share > 0 for share in tasks.values())):
            raise ValueError(f'tasks must have shares above 0, got {tasks}')
        self.mismatch_prob = mismatch_prob
        self.tasks = tasks
        self.seed = seed

    def __call__(self, ids: Tensor, rows: slice, step: int) -> StepDraws:
        """Choose.

        Args:
            ids: (G,) int64 identity of each product of the global batch, on the CPU.
            rows: this rank's rows.
            step: number of the training step.
        """
        generator = torch.Generator().manual_seed(derive_seed('streams', self.seed, step))
        task = None
        if self.tasks is not None:
            task = draw_task(self.tasks, float(torch.rand((), generator=generator)))
        draws = torch.rand(2, len(ids), generator=generator)
        partner = torch.arange(len(ids))[rows]
        is_pair = torch.ones(len(partner), dtype=torch.bool)
        if self.mismatch_prob and task in (None, 'itm'):
            is_pair = (draws[0] >= self.mismatch_prob)[rows]
            others = draw_others(ids, rows, draws[1])
            partner = torch.where(is_pair, partner, others)
        return StepDraws(task, is_pair, partner, derive_seed('masks', self.seed, step))


def draw_task(tasks: dict[str, float], draw: float) -> str:
    """The task at a uniform draw in [0, 1), each with its share."""
    names, shares = list(tasks), torch.tensor(list(tasks.values()), dtype=torch.float64)
    place = torch.searchsorted((shares / shares.sum()).cumsum(dim=0), draw, right=True)
    return names[min(int(place), len(names) - 1)]


def draw_others(ids: Tensor, rows: slice, draws: Tensor) -> Tensor:
    """(B,) int64: a row of another product for each of this rank's rows, each equally likely.

    Args:
        ids: (G,) int64 identities.
        rows: this rank's rows.
        draws: (G,) in [0, 1).

    Raises:
        ValueError: the global batch has one product only.
    """
    same = ids[rows, None] == ids
    if bool(same.all(dim=1).any()):
        raise ValueError(
            'a text of another product is needed, but the global batch has one product only: '
            'raise `train_dataloader.batch_size`'
        )
    return draw_hard_negatives(torch.zeros(same.shape), same, draws[rows])


def check_tasks(tasks: dict | None) -> None:
    """Check the names of tasks.

    Raises:
        KeyError: one is not known.
    """
    if unknown := sorted(set(tasks or ()) - set(TASKS)):
        raise KeyError(f'tasks has unknown names {unknown}; known: {", ".join(TASKS)}')
