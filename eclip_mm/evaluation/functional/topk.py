"""Exact nearest neighbours in tiles."""

import numpy as np
import torch

# Unit vectors are rounded to multiples of 2^-26. Every product of two
# components and, by Cauchy-Schwarz, every partial sum of a dot product is then
# a multiple of 2^-52 of at most about 1, which float64 represents exactly.
# Therefore a matrix product gives the same bits for every tile size, device
# and BLAS, and equal vectors tie exactly. The rounding changes a similarity by
# about 1e-8, which is less than the error of a float32 matrix product.
_GRID = 2.0**26

# Wider features are not prefiltered: the error bound of float32 would no longer be small.
_MAX_DIMS = 2**16


def topk_similarity(
    query, gallery, k: int, *, tile: int | tuple[int, int] = (4096, 4096), exclude=None
):
    """Find the k nearest gallery items of each query by cosine similarity, exactly.

    The search works in tiles. Beside the features it needs the memory of a few
    tiles (about 0.5 GiB with the default tiles and k = 10, at any size) and
    never a query x gallery matrix. Ties are broken by the lowest gallery
    index, and the result is the same for every tile size and device, bit for
    bit.

    On a CPU most tiles cost only a float32 matrix product: pairs that lie
    below the k-th neighbour found so far by more than the largest possible
    error are dropped, and the few others are scored exactly.

    Args:
        query: (Nq, D) features, any length; they are normalised here. A zero
            vector has similarity 0 with everything.
        gallery: (Ng, D) features.
        k: number of neighbours.
        tile: number of queries and of gallery items in a tile.
        exclude: (Nq,) gallery index that a query must not find (itself); -1
            for none.

    Returns:
        ``(scores, indices)``, (Nq, min(k, Ng)) float64 and int64, best first:
        tensors on the device of ``query`` if that is a tensor, else arrays. If
        an exclusion leaves too few items, the last entries have index -1 and
        score -inf.

    Raises:
        ValueError: shapes do not fit, k < 1, an excluded index is outside the
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
    # the bound does not hold on a GPU, or if float32 products may be less precise
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
    """Normalise rows ``start`` to ``stop`` and round them to the grid, (n, D) float64."""
    tile = feats[start:stop]
    if isinstance(tile, torch.Tensor):
        tile = tile.detach().cpu().double().numpy()
    tile = np.ascontiguousarray(tile, dtype=np.float64)
    # The sum runs over one contiguous row, so it does not depend on other rows.
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
    """Return the rows whose column lies in the tile, and that column."""
    here = ((column >= 0) & (column < width)).nonzero()[:, 0]
    return here, column[here]


def _all_pairs(left, right, k: int, banned):
    """Return the tile's top k of each row as flat rows, columns and scores, in row order."""
    part = left @ right.T
    if banned is not None:
        part[banned] = -torch.inf
    value, column = _row_topk(part, min(k, part.shape[1]))
    row = torch.arange(len(left), device=left.device).repeat_interleave(value.shape[1])
    return row, column.flatten(), value.flatten()


def _above(left, right, kth, banned):
    """Return the pairs that beat their row's k-th score; None if too many might.

    The pairs are in the form of :func:`_all_pairs`. With unit roundoff
    u = 2^-24, a float32 product of two vectors rounded to float32 differs from
    the exact one by less than (D + 2) u (1 + D u) |x| |y| for any order of
    summation (Higham, Accuracy and Stability of Numerical Algorithms, section
    3.1). The vectors' length is at most 2^26 (1 + 1e-4), and rounding the
    threshold adds less than u. Grid values are whole numbers, so nothing
    underflows.
    """
    approx = left.float() @ right.float().T
    if banned is not None:
        approx[banned] = -torch.inf
    error = 1.01 * (left.shape[1] + 4) * 2.0**-24 * _GRID**2
    least = (kth - error).clamp(min=torch.finfo(torch.float32).min).float()
    maybe = approx >= least
    if maybe.sum() > approx.numel() // 32:  # scoring single pairs would take longer
        return None
    row, column = maybe.nonzero(as_tuple=True)
    score = torch.empty(len(row), dtype=torch.float64)
    for start in range(0, len(row), 4096):
        part = slice(start, start + 4096)
        score[part] = (left[row[part]] * right[column[part]]).sum(1)
    better = score > kth[row, 0]  # a tie with the k-th has a higher index
    return row[better], column[better], score[better]


def _merge(value, index, row, column, score):
    """Merge flat (row, column, score) into the sorted (n, k) best; all columns are higher."""
    n, k = value.shape
    touched = row.unique()
    all_row = torch.cat([touched.repeat_interleave(k), row])
    all_index = torch.cat([index[touched].flatten(), column])
    all_value = torch.cat([value[touched].flatten(), score])
    # Earlier entries have lower indices, so stable sorting keeps ties in order.
    order = all_value.argsort(descending=True, stable=True)
    order = order[all_row[order].argsort(stable=True)]
    start = torch.searchsorted(all_row[order], touched)
    best = order[start[:, None] + torch.arange(k, device=order.device)]
    value, index = value.clone(), index.clone()
    value[touched], index[touched] = all_value[best], all_index[best]
    return value, index


def _row_topk(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the top k of each row, ordered by (score descending, column ascending)."""
    values, columns = scores.topk(k, dim=1)
    # topk's choice among columns that tie with the k-th is arbitrary: if there
    # are more of them than places, take the first ones instead.
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
