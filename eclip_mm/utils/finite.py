"""Checks that losses and gradients are finite."""

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor

from eclip_mm.utils.dist import local_part


class NonFiniteLossError(FloatingPointError):
    """A loss term is NaN or infinite; the weights are those before the step."""


class NonFiniteGradientError(FloatingPointError):
    """The norm of the gradients is NaN or infinite; the weights are those before the step."""


#: With a gradient scaler, so many overflows in a row are an error.
MAX_OVERFLOWS = 20


def refuse_nonfinite_gradients(optim_wrapper: OptimWrapper) -> None:
    """Make ``clip_grad=dict(error_if_nonfinite=True)`` raise :class:`NonFiniteGradientError`.

    torch raises a RuntimeError instead, which can only be recognised by its text.

    With a gradient scaler (mmengine's ``AmpOptimWrapper``, for fp16) a norm that is not finite is
    usually an overflow of the *scaled* gradients. That is routine: the scaler skips the step and
    lowers its scale. It is an error only where a lower scale cannot help:

    - the scale is 1 or less, that is, the gradients overflow without scaling as well;
    - it is the :data:`MAX_OVERFLOWS`-th overflow in a row. The default scale of 65536 is 1 after
      16 of them, so this ends runs with a constant scale or a very large one.

    A loss that is not finite is an error under a scaler, too (:func:`check_finite`).

    Args:
        optim_wrapper: changed in place if it has this option, else left as it is.
    """
    options = dict(getattr(optim_wrapper, 'clip_grad_kwargs', None) or {})  # the config's own
    if not options.pop('error_if_nonfinite', False):
        return
    clip, optim_wrapper.clip_grad_kwargs = optim_wrapper.clip_func, options
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    overflows = 0

    def clip_finite(params, **kwargs) -> Tensor | None:
        nonlocal overflows
        norm = clip(params, **kwargs)
        if norm.isfinite():
            overflows = 0
            return norm
        message = f'the norm of the gradients is {float(norm)}'
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
    if not hasattr(optim_wrapper, 'loss_scaler'):
        _check_while_accumulating(optim_wrapper)


def _check_while_accumulating(optim_wrapper: OptimWrapper) -> None:
    """Check the gradient of each iteration of an accumulated step, not only their sum.

    Clipping sees the sum, at the last iteration: the state that is saved then
    would hold what the iteration with the bad gradient has left in it.
    """
    backward = optim_wrapper.backward

    def backward_finite(loss: Tensor, **kwargs) -> None:
        backward(loss, **kwargs)
        if optim_wrapper.should_update():
            return
        params = (p for group in optim_wrapper.param_groups for p in group['params'])
        grads = [local_part(p.grad) for p in params if p.grad is not None]
        norms = torch.stack(torch._foreach_norm([grad for grad in grads if grad.numel()]))
        if _on_any_rank(~norms.isfinite().all()):
            raise NonFiniteGradientError('a gradient of this iteration is not finite')

    optim_wrapper.backward = backward_finite


def check_finite(terms: dict[str, Tensor], data_samples: list) -> None:
    """Raise an error before a loss that is not finite can change the weights.

    All ranks raise it together, so that none waits for the gradients of another.

    Args:
        terms: all that the heads return; only names with "loss" are checked.
        data_samples: of the batch of this rank, for the message.

    Raises:
        NonFiniteLossError: a loss is NaN or infinite. It names the terms and the
            ``product_id`` of each sample.
    """
    losses = {name: value for name, value in terms.items() if 'loss' in name}
    # stacked, so that the device is synchronised once
    bad = ~torch.stack([value.detach().float() for value in losses.values()]).isfinite().all()
    if not _on_any_rank(bad):
        return
    names = [name for name, value in losses.items() if not value.isfinite()]
    if not names:
        raise NonFiniteLossError('non-finite loss on another rank, whose message names it')
    raise NonFiniteLossError(
        f"non-finite loss: {', '.join(names)} of this rank's batch; "
        f'product_ids: {[s.product_id for s in data_samples]}'
    )


def _on_any_rank(bad: Tensor) -> bool:
    if get_dist_info()[1] > 1:
        bad = bad.to(torch.int32)
        dist.all_reduce(bad, op=dist.ReduceOp.MAX)
    return bool(bad)
