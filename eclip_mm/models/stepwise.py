"""What training steps leave behind in a model, and when it takes effect."""

from collections.abc import Callable, Iterable

import torch
from mmengine.model import BaseModel
from torch import Tensor


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

    Attributes:
        num_steps: number of complete training steps; it travels with the
            weights.
    """

    def __init__(self, data_preprocessor=None, init_cfg: dict | None = None):
        super().__init__(data_preprocessor, init_cfg)
        self.num_steps = 0
        self._unfinished: list[Callable[[], None]] | None = None

    # a tensor, which is safe to load
    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.num_steps)

    def set_extra_state(self, state: Tensor):
        self.num_steps = int(state)

    def leave_step_open(self, effects: Iterable[Callable[[], None]]) -> None:
        """Begin a step, whose loss is computed and whose gradient is not.

        Args:
            effects: functions that keep what the step leaves for later ones.
        """
        self._unfinished = list(effects)

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
        self._unfinished = None

    def begin_training(self) -> None:
        """Forget what an earlier training has left: ``load_from`` loads it with the weights."""
        self.num_steps, self._unfinished = 0, None
