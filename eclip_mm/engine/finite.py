"""The one check that every loss term is finite."""

import torch
import torch.distributed as dist
from torch import Tensor

from .dist import world


class NonFiniteLossError(FloatingPointError):
    """A loss term is NaN or infinite; the weights are those before the step."""


def check_finite(terms: dict[str, Tensor], data_samples: list) -> None:
    """Stop before a non-finite loss reaches the weights.

    All ranks stop together, so that none waits for the others' gradients.

    Raises:
        NonFiniteLossError: names the terms and the product_ids of the batch.
    """
    losses = {name: value for name, value in terms.items() if 'loss' in name}
    # stacked: one synchronisation with the device
    bad = ~torch.stack([value.detach().float() for value in losses.values()]).isfinite().all()
    if world()[1] > 1:
        bad = bad.to(torch.int32)
        dist.all_reduce(bad, op=dist.ReduceOp.MAX)
    if not bad:
        return
    names = [name for name, value in losses.items() if not value.isfinite()]
    if not names:
        raise NonFiniteLossError('non-finite loss on another rank, which names it')
    raise NonFiniteLossError(
        f"non-finite loss: {', '.join(names)} of this rank's batch; "
        f'product_ids: {[s.product_id for s in data_samples]}'
    )
