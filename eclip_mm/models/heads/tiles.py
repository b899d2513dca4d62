"""Means over the rows of matrices that are too large to be in memory as a whole."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

#: Logits that a head holds at a time: 16 MiB in float32, of which a loss makes several copies.
MAX_LOGITS = 2**22


def row_tiles(num_rows: int, num_columns: int, max_elements: int) -> list[slice]:
    """Slices that divide (num_rows, num_columns) logits into tiles of whole rows.

    A tile has at most ``max_elements`` elements, but at least one row.
    """
    step = max(1, max_elements // max(1, num_columns))
    return [slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]


def mean_over_tiles(
    function: Callable[..., tuple[Tensor, Tensor]],
    tiles: Sequence[slice],
    own: Tensor,
    *shared: Tensor,
    parameters: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """Means over all rows, computed from those of one tile after the other.

    The backward pass computes each tile again, as ``checkpoint`` does, which
    adds one matrix product to every three. The memory of a tile is free before
    the next one is computed.

    Args:
        function: maps (rows, own[rows], *shared) to a loss and a figure
            without gradient. Both are scalars, means over the rows.
        tiles: slices that cover the rows.
        own: (B, ...), of which each tile gets its rows.
        shared: tensors that every tile gets as a whole.
        parameters: further tensors that ``function`` uses and that get
            gradients.

    Returns:
        The loss and the figure over all rows.
    """
    if len(tiles) == 1:
        return function(tiles[0], own, *shared)
    if not torch.compiler.is_compiling():
        return _MeanOverTiles.apply(function, tiles, len(shared), own, *shared, *parameters)
    # Dynamo can trace `checkpoint`, but not _MeanOverTiles. That one is there for the CPU: the
    # little that `checkpoint` keeps of each tile lies between the large blocks of memory that
    # tiles free, so that malloc cannot use these again. 65,536 features took over 20 GiB.
    return _mean(
        lambda rows: checkpoint(
            function, rows, own[rows], *shared, use_reentrant=False, preserve_rng_state=False
        ),
        tiles,
        len(own),
    )


def _mean(
    function: Callable[[slice], tuple[Tensor, Tensor]], tiles: Sequence[slice], num_rows: int
) -> tuple[Tensor, Tensor]:
    loss = figure = 0.0
    for rows in tiles:
        found, weight = function(rows), _weight(rows, num_rows)
        loss, figure = loss + weight * found[0], figure + weight * found[1]
    return loss, figure


def _weight(rows: slice, num_rows: int) -> float:
    return (rows.stop - rows.start) / num_rows


class _MeanOverTiles(torch.autograd.Function):
    @staticmethod
    def forward(ctx, function, tiles, num_shared, own, *others):
        ctx.function, ctx.tiles, ctx.num_shared = function, tiles, num_shared
        ctx.save_for_backward(own, *others)
        kind = own.device.type
        ctx.autocast = dict(
            device_type=kind,
            dtype=torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
        )
        shared = others[:num_shared]
        means = _mean(lambda rows: function(rows, own[rows], *shared), tiles, len(own))
        ctx.mark_non_differentiable(means[1])
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, _):
        own, *others = ctx.saved_tensors
        wants_own, *wants = ctx.needs_input_grad[3:]
        shared = [
            x.detach().requires_grad_(want)
            for x, want in zip(others[: ctx.num_shared], wants, strict=False)
        ]
        sources = [*shared, *others[ctx.num_shared :]]
        wanted = [i for i, want in enumerate(wants) if want]
        grad_own = torch.empty_like(own) if wants_own else None
        grads = [None] * len(others)
        for rows in ctx.tiles:
            with torch.enable_grad(), torch.autocast(**ctx.autocast):
                part = own[rows].detach().requires_grad_(wants_own)
                loss = ctx.function(rows, part, *shared)[0]
            found = torch.autograd.grad(
                loss,
                [sources[i] for i in wanted] + [part] * wants_own,
                _weight(rows, len(own)) * grad_loss,
                allow_unused=True,
            )
            if wants_own:
                grad_own[rows] = found[-1]
            for k, i in enumerate(wanted):
                if found[k] is None:
                    continue
                if grads[i] is None:  # a copy: gradients may share memory with one another
                    grads[i] = found[k].clone()
                else:
                    grads[i].add_(found[k])
            del loss, found  # before the next tile is computed
        return None, None, None, grad_own, *grads
