"""Precision of computations for which bf16 or TF32 is too coarse."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """bf16 and float16 become float32; float32 and float64 stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def bf16_is_faster(device: str | torch.device) -> bool:
    """Whether a device multiplies matrices faster in bf16 than in float32.

    A CPU does with AVX512-BF16 or AMX; others would emulate it.
    """
    kind = torch.device(device).type
    if kind == 'cuda':
        # of a cluster's GPU this machine may know nothing
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
    if kind == 'cpu':
        return cpu_has('avx512_bf16') or cpu_has('amx_bf16')
    return False


def cpu_has(capability: str) -> bool:
    """Whether the CPU has instructions such as ``amx_bf16``; False where torch cannot tell."""
    found = getattr(torch.cpu, 'get_capabilities', dict)()  # new in torch 2.9
    return found.get(capability, False)


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
