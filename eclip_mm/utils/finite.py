"""Checks that losses and gradients are finite."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from eclip_mm.utils.dist import local_part
from eclip_mm.utils.host_reads import read_scalars


class NonFiniteLossError(FloatingPointError):
    """A loss term is NaN or infinite; the weights are those before the step."""


class NonFiniteGradientError(FloatingPointError):
    """The norm of the gradients is NaN or infinite; the weights are those before the step."""


class StepReader(Protocol):
    """A model whose losses are checked when the host reads the norm of their gradients."""

    def read_step(self, *others: Tensor) -> list[float]:
        """Values of other scalars, read together with the figures of the step.

        Raises:
            NonFiniteLossError: a loss of the step is not finite.
        """


#: With a gradient scaler, so many overflows in a row are an error.
MAX_OVERFLOWS = 20


def refuse_nonfinite_gradients(
    optim_wrapper: OptimWrapper, model: StepReader | None = None
) -> bool:
    """Make ``clip_grad=dict(error_if_nonfinite=True)`` raise :class:`NonFiniteGradientError`.

    torch raises a RuntimeError instead, which can only be recognised by its text.

    The host reads the device once a step, between the backward pass and the optimiser: the norm,
    and with it what ``model`` has to say of its losses. Gradients that need no clipping are not
    multiplied by 1.

    With a gradient scaler (mmengine's ``AmpOptimWrapper``, for fp16) a norm that is not finite is
    usually an overflow of the *scaled* gradients. That is routine: the scaler skips the step and
    lowers its scale. It is an error only where a lower scale cannot help:

    - the scale is 1 or less, that is, the gradients overflow without scaling as well;
    - it is the :data:`MAX_OVERFLOWS`-th overflow in a row. The default scale of 65536 is 1 after
      16 of them, so this ends runs with a constant scale or a very large one.

    A loss that is not finite is an error under a scaler, too.

    Args:
        optim_wrapper: changed in place if it has this option, else left as it is.
        model: whose figures are read with the norm; None for a model that checks its losses
            itself.

    Returns:
        Whether the wrapper has this option, so that figures are read in each iteration.
    """
    options = dict(getattr(optim_wrapper, 'clip_grad_kwargs', None) or {})  # the config's own
    if not options.pop('error_if_nonfinite', False):
        return False
    read = read_scalars_of if model is None else model.read_step
    clip, optim_wrapper.clip_grad_kwargs = optim_wrapper.clip_func, options
    if clip is torch.nn.utils.clip_grad_norm_ and options.keys() <= {'max_norm', 'norm_type'}:
        clip = clip_if_larger
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    overflows = 0

    def clip_finite(params, **kwargs) -> Tensor | None:
        nonlocal overflows
        values = []

        def read_norm(norm: Tensor) -> float:
            values.extend(read(norm))
            return values[0]

        if clip is clip_if_larger:
            clip(params, read_norm, **kwargs)
        else:  # of a sharded model, or with other options of torch
            read_norm(clip(params, **kwargs))
        (norm,) = values
        if math.isfinite(norm):
            overflows = 0
            return torch.tensor(norm)  # on the CPU: mmengine reads it again
        message = f'the norm of the gradients is {norm}'
        if scaler is None:
            raise NonFiniteGradientError(message)
        overflows += 1
        scale = scaler.get_scale()
        if scale <= 1 or overflows >= MAX_OVERFLOWS:
            raise NonFiniteGradientError(
                f'{message} at a loss scale of {scale} (overflow {overflows} in a row)'
            )
        print_log(f'{message} at a loss scale of {scale}: this step is skipped', logger='current')
        return None  # mmengine then logs no norm; one NaN would hide ten steps in the mean

    optim_wrapper.clip_func = clip_finite
    _check_while_accumulating(optim_wrapper, read)
    return True


def read_scalars_of(*scalars: Tensor) -> list[float]:
    """:func:`read_scalars` of its arguments."""
    return read_scalars(scalars)


def clip_if_larger(
    params: list[nn.Parameter],
    read: Callable[[Tensor], float],
    max_norm: float,
    norm_type: float = 2.0,
) -> None:
    """``torch.nn.utils.clip_grad_norm_``, without its pass over gradients that are small enough.

    Args:
        params: with gradients.
        read: gives the host the norm of all gradients.
        max_norm: gradients with a larger norm are scaled to it, unless that is not finite.
        norm_type: p of the norm.
    """
    grads, norm_type = [param.grad for param in params], float(norm_type)  # 'inf' is a norm
    norms = torch.stack(torch._foreach_norm(grads, norm_type))
    norm = torch.linalg.vector_norm(norms, norm_type)
    value = read(norm)
    if math.isfinite(value) and max_norm / (value + 1e-6) < 1:
        torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1.0))


def _check_while_accumulating(
    optim_wrapper: OptimWrapper, read: Callable[..., list[float]]
) -> None:
    """Check each iteration of an accumulated step, not only the sum of the gradients.

    Clipping sees the sum, at the last iteration: the state that is saved then
    would hold what the iteration with the bad gradient has left in it. Under a scaler only the
    losses are checked.
    """
    has_scaler = hasattr(optim_wrapper, 'loss_scaler')
    backward = optim_wrapper.backward

    def backward_finite(loss: Tensor, **kwargs) -> None:
        backward(loss, **kwargs)
        if optim_wrapper.should_update():
            return
        params = (p for group in optim_wrapper.param_groups for p in group['params'])
        grads = [local_part(p.grad) for p in params if p.grad is not None]
        norms = torch.stack(torch._foreach_norm([grad for grad in grads if grad.numel()]))
        (bad,) = read(on_any_rank(~norms.isfinite().all()))
        if bad and not has_scaler:
            raise NonFiniteGradientError('a gradient of this iteration is not finite')

    optim_wrapper.backward = backward_finite


class LossCheck:
    """Whether the losses of a step are finite, to be read now or later.

    Args:
        terms: all that the heads return; only names with "loss" are checked.
        data_samples: of the batch of this rank, for the message.

    Attributes:
        is_bad: bool or int scalar of the device, the same on all ranks, so that all of them raise
            the error together and none waits for the gradients of another.
    """

    def __init__(self, terms: dict[str, Tensor], data_samples: list) -> None:
        self.losses = {name: value.detach() for name, value in terms.items() if 'loss' in name}
        self.data_samples = data_samples
        losses = torch.stack([value.float() for value in self.losses.values()])
        self.is_bad = on_any_rank(~losses.isfinite().all())

    def refuse(self) -> None:
        """Raise the error that names the terms and the ``product_id`` of each sample.

        Raises:
            NonFiniteLossError: always.
        """
        names = [name for name, value in self.losses.items() if not value.isfinite()]
        if not names:
            raise NonFiniteLossError('non-finite loss on another rank, whose message names it')
        raise NonFiniteLossError(
            f"non-finite loss: {', '.join(names)} of this rank's batch; "
            f'product_ids: {[s.product_id for s in self.data_samples]}'
        )


def on_any_rank(bad: Tensor) -> Tensor:
    """Whether a bool scalar is True on any rank; the host does not wait for it."""
    if get_dist_info()[1] > 1:
        bad = bad.to(torch.int32)
        dist.all_reduce(bad, op=dist.ReduceOp.MAX)
    return bad
