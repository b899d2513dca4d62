"""Reading figures of a step from the device."""

from collections.abc import Sequence

import torch
from torch import Tensor


def read_scalars(scalars: Sequence[Tensor]) -> list[float]:
    """Values of scalars of one device, by one transfer.

    The host waits until the device has computed them. In a training step everything that the host
    needs to know therefore comes through one call of this function
    (``tests/test_engine/test_host_reads.py``).

    Args:
        scalars: of any floating type that float32 holds, or bool.
    """
    return torch.stack([scalar.detach().float() for scalar in scalars]).tolist()
