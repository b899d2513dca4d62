"""What training steps leave behind in a model, and when it takes effect."""

from collections.abc import Callable, Iterable

import torch
from mmengine.model import BaseModel
from torch import Tensor

from eclip_mm.utils.finite import LossCheck
from eclip_mm.utils.host_reads import read_scalars


class StepwiseModel(BaseModel):
    """A model that counts its training steps and remembers something of them.

    A step is one iteration. It is complete when its gradient is known to be
    finite. What it leaves for later ones (its number, new rows of a queue)
    takes effect then, not with the loss: a gradient that is not finite ends
    the run, and the state that is saved has to be the one before the step, so
    that a resumed run repeats the step. Gradients that were accumulated before
    it are lost, as in any checkpoint between two updates.

    ``TeacherUpdateHook`` finishes each step, and ``ResumableTrainLoop`` needs
    it. In a loop of your own the next call of ``loss`` finishes the step.

    A step that is not finite is found out by one of two ways. In a loop of your own,
    :meth:`leave_step_open` reads whether the losses are finite. Where the loop reads the norm of
    the gradients (``ResumableTrainLoop``), :meth:`read_step` reads the losses and what is logged
    with it, so that the host waits for the device once a step.

    Attributes:
        num_steps: number of complete training steps; it travels with the
            weights.
        is_read_later: whether the loop calls :meth:`read_step` in each iteration, after the
            backward pass.
    """

    def __init__(self, data_preprocessor=None, init_cfg: dict | None = None):
        super().__init__(data_preprocessor, init_cfg)
        self.num_steps = 0
        self._unfinished: list[Callable[[], None]] | None = None
        self.is_read_later = False
        self._check: LossCheck | None = None
        self._figures: dict[str, Tensor | float] = {}

    # a tensor, which is safe to load
    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.num_steps)

    def set_extra_state(self, state: Tensor):
        self.num_steps = int(state)

    def leave_step_open(self, effects: Iterable[Callable[[], None]], check: LossCheck) -> None:
        """Begin a step, whose loss is computed and whose gradient is not.

        Args:
            effects: functions that keep what the step leaves for later ones.
            check: of its losses.

        Raises:
            NonFiniteLossError: a loss is not finite, and nothing is read later.
        """
        self._check = check if self.is_read_later else None
        if not self.is_read_later and any(read_scalars([check.is_bad])):
            check.refuse()
        self._unfinished = list(effects)

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict]:
        """The sum of the losses, and the figures to be logged, floats after :meth:`read_step`."""
        loss, figures = super().parse_losses(losses)
        # they hold the graph: a model that kept them could not be copied
        self._figures = figures if self.is_read_later else {}
        return loss, figures

    def read_step(self, *others: Tensor) -> list[float]:
        """Read the figures of the step in place, and other scalars of the device with them.

        Raises:
            NonFiniteLossError: a loss of the open step is not finite.
        """
        names = list(self._figures)
        checks = [] if self._check is None else [self._check.is_bad]
        values = read_scalars([*others, *self._figures.values(), *checks])
        if checks and values[-1]:
            self._check.refuse()
        first = len(others)
        self._figures.update(zip(names, values[first : first + len(names)], strict=True))
        self._check, self._figures = None, {}
        return values[:first]

    def finish_step(self) -> None:
        """Let the open step take effect; does nothing if no step is open."""
        if self._unfinished is None:
            return
        effects, self._unfinished = self._unfinished, None
        for effect in effects:
            effect()
        self.num_steps += 1

    def discard_step(self) -> None:
        """Forget the open step, for example because its gradient is not finite."""
        self._unfinished = self._check = None
        self._figures = {}

    def begin_training(self) -> None:
        """Forget what an earlier training has left: ``load_from`` loads it with the weights."""
        self.discard_step()
        self.num_steps = 0
