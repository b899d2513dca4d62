"""Exact nearest neighbours in tiles."""

import numpy as np
import torch

# Unit vectors are rounded to multiples of 2^-26. Then every product of two
# components, and by Cauchy-Schwarz every partial sum of a dot product, is a
# multiple of 2^-52 of at most about 1, which float64 holds exactly: a matrix
# product gives the same bits whatever the tile, the device and the BLAS, and
# equal vectors tie exactly. The rounding moves a similarity by about 1e-8,
# less than a float32 matrix product does.
_GRID = 2.0**26

# Wider features are not prefiltered: the bound on float32's error would no longer be small.
_MAX_DIMS = 2**16


def topk_similarity(
    query, gallery, k: int, *, tile: int | tuple[int, int] = (4096, 4096), exclude=None
):
    """The k nearest gallery items of each query by cosine similarity, exactly.

    Works in tiles: memory above the features is a few tiles, never a query x
    gallery matrix (with the default tiles and k = 10 about 0.5 GiB at any
    size). Ties are broken by the lowest gallery index, and the result is the
    same for every tile size and device, bit for bit.

    On a CPU most tiles cost a float32 matrix product only: what it shows, by
    more than its largest possible error, to lie below the k-th neighbour found
    so far is out; the few others are scored exactly.

    Args:
        query: (Nq, D) features, any length; they are
            normalised here. A zero vector has similarity 0 with everything.
        gallery: (Ng, D) features.
        k: How many neighbours.
        tile: Number of queries and of gallery items
            in a tile.
        exclude: (Nq,) gallery index that a query may
            not find (itself), -1 for none.

    Returns:
        ``(scores, indices)``, (Nq, min(k, Ng)) float64 and int64, best
        first; Tensors on the device of ``query`` where that is a Tensor, else
        arrays. Where an exclusion leaves too few items, the tail has index -1
        and score -inf.

    Raises:
        ValueError: Shapes do not fit, k < 1, an excluded index is outside the
            gallery, or a feature is not finite.
    """
    if len(query.shape) != 2 or len(gallery.shape) != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f'features are (Nq, D) and (Ng, D), got {tuple(query.shape)} and '
            f'{tuple(gallery.shape)}'
        )
    if k < 1:
        raise ValueError(f'k is at least 1, got {k}')
    num_query, num_gallery = len(query), len(gallery)
    k = min(k, num_gallery)
    query_tile, gallery_tile = (tile, tile) if isinstance(tile, int) else tile
    device = torch.device('cpu')
    if isinstance(query, torch.Tensor) and query.device.type == 'cuda':
        device = query.device
    exclude = _check_exclude(exclude, num_query, num_gallery, device)
    # on a GPU, or where float32 products may be rougher, the bound does not hold
    prefilter = (
        device.type == 'cpu'
        and not torch.is_autocast_enabled('cpu')
        and torch.get_float32_matmul_precision() == 'highest'
        and query.shape[1] <= _MAX_DIMS
    )

    scores = torch.full((num_query, k), -torch.inf, dtype=torch.float64, device=device)
    indices = torch.full((num_query, k), -1, dtype=torch.long, device=device)
    for row in range(0, num_query if k else 0, query_tile):
        rows = slice(row, min(row + query_tile, num_query))
        left = torch.from_numpy(_grid_tile(query, rows.start, rows.stop, 'query')).to(device)
        best = scores[rows], indices[rows]
        for col in range(0, num_gallery, gallery_tile):
            end = min(col + gallery_tile, num_gallery)
            right = torch.from_numpy(_grid_tile(gallery, col, end, 'gallery')).to(device)
            banned = None if exclude is None else _inside(exclude[rows] - col, end - col)
            found = None
            if prefilter and col:
                found = _above(left, right, best[0][:, -1:], banned)
            if found is None:
                found = _all_pairs(left, right, k, banned)
            best = _merge(*best, found[0], found[1] + col, found[2])
        scores[rows], indices[rows] = best[0] / _GRID**2, best[1]
    indices[scores == -torch.inf] = -1
    if isinstance(query, torch.Tensor):
        return scores.to(query.device), indices.to(query.device)
    return scores.numpy(), indices.numpy()


def _grid_tile(feats, start: int, stop: int, name: str) -> np.ndarray:
    """Rows ``start`` to ``stop`` normalised and rounded to the grid, (n, D) float64."""
    tile = feats[start:stop]
    if isinstance(tile, torch.Tensor):
        tile = tile.detach().cpu().double().numpy()
    tile = np.ascontiguousarray(tile, dtype=np.float64)
    # Per row over contiguous memory: does not depend on the rows beside it.
    norm = np.sqrt((tile * tile).sum(1, keepdims=True))
    if not np.isfinite(norm).all():
        row = start + int((~np.isfinite(norm[:, 0])).argmax())
        raise ValueError(f'{name} feature {row} has a value that is not finite')
    return np.rint(tile / np.where(norm > 0, norm, 1) * _GRID)


def _check_exclude(exclude, num_query: int, num_gallery: int, device):
    if exclude is None:
        return None
    exclude = torch.as_tensor(exclude, dtype=torch.long, device=device)
    inside = ((exclude >= -1) & (exclude < num_gallery)).all()
    if exclude.shape != (num_query,) or not inside:
        raise ValueError(
            f'exclude has one index below {num_gallery} (or -1) for each of {num_query} queries'
        )
    return exclude


def _inside(column: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows whose column lies in the tile, and that column."""
    here = ((column >= 0) & (column < width)).nonzero()[:, 0]
    return here, column[here]


def _all_pairs(left, right, k: int, banned):
    """The tile's top k of each row: rows, columns and scores, flat, in row order."""
    part = left @ right.T
    if banned is not None:
        part[banned] = -torch.inf
    value, column = _row_topk(part, min(k, part.shape[1]))
    row = torch.arange(len(left), device=left.device).repeat_interleave(value.shape[1])
    return row, column.flatten(), value.flatten()


def _above(left, right, kth, banned):
    """Pairs that beat their row's k-th score, as :func:`_all_pairs`; None if too many may.

    With unit roundoff u = 2^-24, a float32 product of two vectors rounded to
    float32 differs from the exact one by less than (D + 2) u (1 + D u) |x| |y|,
    whatever the order of summation (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1). The vectors' length is at most 2^26
    (1 + 1e-4), and rounding the threshold adds less than u. Grid values are
    whole numbers: nothing underflows.
    """
    approx = left.float() @ right.float().T
    if banned is not None:
        approx[banned] = -torch.inf
    error = 1.01 * (left.shape[1] + 4) * 2.0**-24 * _GRID**2
    least = (kth - error).clamp(min=torch.finfo(torch.float32).min).float()
    maybe = approx >= least
    if maybe.sum() > approx.numel() // 32:  # scoring pairs singly would take longer
        return None
    row, column = maybe.nonzero(as_tuple=True)
    score = torch.empty(len(row), dtype=torch.float64)
    for start in range(0, len(row), 4096):
        part = slice(start, start + 4096)
        score[part] = (left[row[part]] * right[column[part]]).sum(1)
    better = score > kth[row, 0]  # one that only ties with the k-th has a higher index
    return row[better], column[better], score[better]


def _merge(value, index, row, column, score):
    """Put flat (row, column, score) into the sorted (n, k) best; columns are new and higher."""
    n, k = value.shape
    touched = row.unique()
    all_row = torch.cat([touched.repeat_interleave(k), row])
    all_index = torch.cat([index[touched].flatten(), column])
    all_value = torch.cat([value[touched].flatten(), score])
    # Earlier entries have lower indices: stable sorting keeps ties in order.
    order = all_value.argsort(descending=True, stable=True)
    order = order[all_row[order].argsort(stable=True)]
    start = torch.searchsorted(all_row[order], touched)
    best = order[start[:, None] + torch.arange(k, device=order.device)]
    value, index = value.clone(), index.clone()
    value[touched], index[touched] = all_value[best], all_index[best]
    return value, index


def _row_topk(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Top k of each row, ordered by (score descending, column ascending)."""
    values, columns = scores.topk(k, dim=1)
    # topk's choice among columns that tie with the k-th is arbitrary: where
    # there are more of them than places, take the first ones instead.
    kth = values[:, -1:]
    tied = (scores >= kth).sum(1) > k
    if tied.any():
        part, kth = scores[tied], kth[tied]
        above, equal = part > kth, part == kth
        places = k - above.sum(1, keepdim=True)
        keep = above | (equal & (equal.cumsum(1) <= places))
        first = keep.nonzero()[:, 1].view(-1, k)
        columns[tied], values[tied] = first, part.gather(1, first)
    columns, order = columns.sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)
