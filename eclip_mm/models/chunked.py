"""Large batches in little memory: activations of a few rows at a time (gradient caching)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def in_chunks(
    function: Callable[..., Tensor | tuple[Tensor, ...]], chunk_size: int | None, *inputs: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """Apply ``function`` to ``chunk_size`` rows at a time, without keeping activations.

    A first pass computes the outputs of all rows, which the losses need
    together. When the losses have given the gradients of the outputs, the
    backward pass runs each chunk again, now with activations, and propagates
    its rows of the gradients (Gao et al., Scaling Deep Contrastive Learning
    Batch Size under Memory Limited Setup, 2021). Dropout repeats the draws of
    the first pass. The result is one autograd graph: DDP sends the gradients
    once, and clipping, accumulation and the optimiser work as usual.

    Args:
        function: maps tensors with one row per product to a tensor, or a tuple
            of tensors, with one row per product. The rows must not depend on
            one another.
        chunk_size: rows at a time. With None, or with no more rows than that,
            ``function`` is simply called.
        inputs: (B, ...) each.

    Returns:
        What ``function(*inputs)`` returns.
    """
    if chunk_size is None or len(inputs[0]) <= chunk_size:
        return function(*inputs)
    parts = []
    for rows in zip(*(x.split(chunk_size) for x in inputs), strict=True):
        if torch.is_grad_enabled():
            # Each chunk gets its own bf16 copy of the weights. With one copy for all, autograd
            # would sum the gradients of the chunks in bf16, which has 8 bits.
            torch.clear_autocast_cache()
            parts.append(checkpoint(function, *rows, use_reentrant=False))
        else:
            parts.append(function(*rows))
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def check_chunk_size(chunk_size: int | None, network: nn.Module, num_distractors: int = 0) -> None:
    """Check that a model can work in chunks.

    Raises:
        ValueError: ``chunk_size`` is less than one row, or rows depend on one
            another: by batch normalisation in the network, or by distractors.
    """
    if chunk_size is None:
        return
    if chunk_size < 1:
        raise ValueError(f'model.chunk_size must be at least 1, or None, got {chunk_size}')
    if num_distractors:
        raise ValueError(
            f'num_distractors={num_distractors} needs the tokens of the whole batch, of which '
            f'chunk_size={chunk_size} keeps only a part in memory: set only one of them'
        )
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ValueError(
                f'model.chunk_size={chunk_size}: {name} is a {type(module).__name__}, which would '
                'take its statistics from a chunk instead of the batch. Use an encoder without '
                'batch normalisation, or chunk_size=None.'
            )
