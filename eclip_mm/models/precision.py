"""Precision of computations for which bf16 or TF32 is too coarse."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """bf16 and float16 become float32; float32 and float64 stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@contextmanager
def convolutions_in_float32() -> Iterator[None]:
    """Switch off TF32 in cuDNN, where it is torch's default, unlike in products of matrices.

    The patch embedding is a convolution: with the 10 bits of TF32's mantissa, all features would
    depend on the batch and the GPU.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
