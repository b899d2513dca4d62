"""The checks that losses and gradients are finite."""

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.optim import OptimWrapper
from torch import Tensor

from eclip_mm.utils.dist import local_part


class NonFiniteLossError(FloatingPointError):
    """A loss term is NaN or infinite; the weights are those before the step."""


class NonFiniteGradientError(FloatingPointError):
    """The norm of the gradients is NaN or infinite; the weights are those before the step."""


def refuse_nonfinite_gradients(optim_wrapper: OptimWrapper) -> None:
    """Let a wrapper with ``clip_grad=dict(error_if_nonfinite=True)`` raise an error of its own.

    torch raises a RuntimeError, which only its words tell from all others.

    Args:
        optim_wrapper: changed in place; others are left as they are.
    """
    options = dict(getattr(optim_wrapper, 'clip_grad_kwargs', None) or {})  # the config's own
    if not options.pop('error_if_nonfinite', False):
        return
    clip, optim_wrapper.clip_grad_kwargs = optim_wrapper.clip_func, options

    def clip_finite(params, **kwargs) -> Tensor:
        norm = clip(params, **kwargs)
        if not norm.isfinite():
            raise NonFiniteGradientError(f'the norm of the gradients is {float(norm)}')
        return norm

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
    """Stop before a non-finite loss reaches the weights.

    All ranks stop together, so that none waits for the others' gradients.

    Raises:
        NonFiniteLossError: names the terms and the product_ids of the batch.
    """
    losses = {name: value for name, value in terms.items() if 'loss' in name}
    # stacked: one synchronisation with the device
    bad = ~torch.stack([value.detach().float() for value in losses.values()]).isfinite().all()
    if not _on_any_rank(bad):
        return
    names = [name for name, value in losses.items() if not value.isfinite()]
    if not names:
        raise NonFiniteLossError('non-finite loss on another rank, which names it')
    raise NonFiniteLossError(
        f"non-finite loss: {', '.join(names)} of this rank's batch; "
        f'product_ids: {[s.product_id for s in data_samples]}'
    )


def _on_any_rank(bad: Tensor) -> bool:
    if get_dist_info()[1] > 1:
        bad = bad.to(torch.int32)
        dist.all_reduce(bad, op=dist.ReduceOp.MAX)
    return bool(bad)
