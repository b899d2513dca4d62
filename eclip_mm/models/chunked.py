"""Large batches on little memory: activations of a few rows at a time (gradient caching)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def in_chunks(
    function: Callable[..., Tensor | tuple[Tensor, ...]], chunk_size: int | None, *inputs: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """``function`` over rows, ``chunk_size`` at a time, without keeping activations.

    A first pass gives the outputs of all rows, which the losses need together.
    Once the losses have given the gradients of these, the backward pass runs
    each chunk again, now with activations, and sends its rows of the gradients
    through it (Gao et al., Scaling Deep Contrastive Learning Batch Size under
    Memory Limited Setup, 2021). Dropout repeats its draws of the first pass.
    To whoever calls ``backward`` it is one graph: DDP sends the gradients once,
    and clipping, accumulation and the optimiser see no difference.

    Args:
        function: of tensors with one row per product each, to a tensor or a
            tuple of such tensors; the rows must not depend on one another.
        chunk_size: rows at a time; None, or one that is not exceeded, is the
            plain call.
        inputs: (B, ...) each.

    Returns:
        What ``function(*inputs)`` returns.
    """
    if chunk_size is None or len(inputs[0]) <= chunk_size:
        return function(*inputs)
    parts = []
    for rows in zip(*(x.split(chunk_size) for x in inputs), strict=True):
        # a bf16 copy of the weights for each chunk: with one for all, autograd would sum the
        # chunks' gradients in bf16, which has 8 bits, before the float32 weight gets any
        torch.clear_autocast_cache()
        if torch.is_grad_enabled():
            parts.append(checkpoint(function, *rows, use_reentrant=False))
        else:
            parts.append(function(*rows))
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def check_chunk_size(chunk_size: int | None, network: nn.Module) -> None:
    """
    Raises:
        ValueError: less than one row, or rows of ``network`` that depend on
            one another.
    """
    if chunk_size is None:
        return
    if chunk_size < 1:
        raise ValueError(f'model.chunk_size must be at least 1, or None, got {chunk_size}')
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ValueError(
                f'model.chunk_size={chunk_size}: {name} is a {type(module).__name__}, whose '
                'statistics would be those of a chunk instead of the batch. Use an encoder '
                'without batch normalisation, or chunk_size=None.'
            )
