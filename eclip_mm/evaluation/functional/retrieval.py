"""Exact nearest neighbours in tiles, recall and average precision."""

import numpy as np
import torch

# Unit vectors are rounded to multiples of 2^-26. Then every product of two
# components, and by Cauchy-Schwarz every partial sum of a dot product, is a
# multiple of 2^-52 of at most about 1, which float64 holds exactly: a matrix
# product gives the same bits whatever the tile, the device and the BLAS, and
# equal vectors tie exactly. The rounding moves a similarity by about 1e-8,
# less than a float32 matrix product does.
_GRID = 2.0**26

PROTOCOLS = ('m5', 'fine', 'product1m', 'ir')


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


def topk_similarity(
    query, gallery, k: int, *, tile: int | tuple[int, int] = (1024, 8192), exclude=None
):
    """The k nearest gallery items of each query by cosine similarity, exactly.

    Works in tiles: memory above the features is a few tiles of float64, never
    a query x gallery matrix. Ties are broken by the lowest gallery index, and
    the result is the same for every tile size and device, bit for bit.

    Args:
        query (ndarray or Tensor): (Nq, D) features, any length; they are
            normalised here. A zero vector has similarity 0 with everything.
        gallery (ndarray or Tensor): (Ng, D) features.
        k (int): How many neighbours.
        tile (int or tuple[int, int]): Number of queries and of gallery items
            in a tile.
        exclude (array-like, optional): (Nq,) gallery index that a query may
            not find (itself), -1 for none.

    Returns:
        tuple: ``(scores, indices)``, (Nq, min(k, Ng)) float64 and int64, best
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
    if exclude is not None:
        exclude = torch.as_tensor(exclude, dtype=torch.long, device=device)
        if (
            exclude.shape != (num_query,)
            or num_query
            and (exclude.min() < -1 or exclude.max() >= num_gallery)
        ):
            raise ValueError(
                f'exclude has one index below {num_gallery} (or -1) for each of '
                f'{num_query} queries'
            )

    scores = torch.full((num_query, k), -torch.inf, dtype=torch.float64, device=device)
    indices = torch.full((num_query, k), -1, dtype=torch.long, device=device)
    for row in range(0, num_query if k else 0, query_tile):
        rows = slice(row, min(row + query_tile, num_query))
        left = torch.from_numpy(_grid_tile(query, rows.start, rows.stop, 'query')).to(device)
        best = best_index = None
        for col in range(0, num_gallery, gallery_tile):
            end = min(col + gallery_tile, num_gallery)
            right = torch.from_numpy(_grid_tile(gallery, col, end, 'gallery')).to(device)
            part = left @ right.T
            if exclude is not None:
                banned = exclude[rows] - col
                here = ((banned >= 0) & (banned < end - col)).nonzero()[:, 0]
                part[here, banned[here]] = -torch.inf
            value, index = _row_topk(part, min(k, end - col))
            index += col
            if best is not None:
                # Earlier tiles have lower indices: stable sorting keeps ties in order.
                value, index = torch.cat([best, value], 1), torch.cat([best_index, index], 1)
                value, order = value.sort(dim=1, descending=True, stable=True)
                value, index = value[:, :k], index.gather(1, order[:, :k])
            best, best_index = value, index
        scores[rows], indices[rows] = best / _GRID**2, best_index
    indices[scores == -torch.inf] = -1
    if isinstance(query, torch.Tensor):
        return scores.to(query.device), indices.to(query.device)
    return scores.numpy(), indices.numpy()


def recall_at_k(relevant, k: int) -> np.ndarray:
    """Is any of the first k relevant?

    Args:
        relevant (array-like): (..., R) bool, relevance in rank order.
        k (int): Cut-off, at least 1; beyond R the list is simply over.

    Returns:
        ndarray: (...,) float64, 1 or 0.
    """
    if k < 1:
        raise ValueError(f'k is at least 1, got {k}')
    return np.asarray(relevant, dtype=bool)[..., :k].any(-1).astype(np.float64)


def ap_depth(num_relevant, num_ranked: int, k: int, protocol: str) -> np.ndarray:
    """How deep AP@k looks: min(k, |R|) for ``ir``, min(k, |P|, |R|) for the others.

    Raises:
        ValueError: Unknown protocol or k < 1.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f'unknown protocol {protocol!r}, one of {PROTOCOLS}')
    if k < 1:
        raise ValueError(f'k is at least 1, got {k}')
    num_relevant = np.asarray(num_relevant, dtype=np.int64)
    depth = np.full(num_relevant.shape, min(k, num_ranked), dtype=np.int64)
    return depth if protocol == 'ir' else np.minimum(depth, num_relevant)


def average_precision_at_k(relevant, num_relevant, k: int, protocol: str) -> np.ndarray:
    """AP@k under a protocol's own definition (PROTOCOLS.md).

    With rel_i the relevance at rank i, hits_i the relevant items down to it,
    P the relevant set and R the ranked list:

    - ``m5``, ``fine``, ``product1m``: (1 / hits) * sum over i <= min(k, |P|, |R|) of
      rel_i * hits_i / i, hits being those among these ranks; 0 without a hit.
      For ``product1m`` P is the concatenation of the gallery lists of all of
      the query's labels: a label that it has twice counts twice in |P|.
    - ``ir``: (1 / |P|) * sum over i <= min(k, |R|) of rel_i * hits_i / i.

    Args:
        relevant (array-like): (..., R) bool, relevance in rank order; the
            whole ranked list or its first k entries.
        num_relevant (int or array-like): (...,) |P|, size of the relevant set
            in the whole gallery.
        k (int): Cut-off.
        protocol (str): ``m5``, ``fine`` or ``ir``.

    Returns:
        ndarray: (...,) float64 in [0, 1]; 0 where |P| is 0.

    Raises:
        ValueError: Unknown protocol, k < 1, or more hits than |P|.
    """
    relevant = np.asarray(relevant, dtype=bool)
    num_relevant = np.asarray(num_relevant, dtype=np.int64)
    if (relevant.sum(-1) > num_relevant).any():
        raise ValueError('a ranked list has more relevant items than num_relevant says')
    depth = ap_depth(num_relevant, relevant.shape[-1], k, protocol)
    rank = np.arange(1, relevant.shape[-1] + 1)
    seen = relevant & (rank <= depth[..., None])
    total = (seen * np.cumsum(seen, -1) / rank).sum(-1)
    divisor = num_relevant if protocol == 'ir' else seen.sum(-1)
    return np.divide(total, divisor, out=np.zeros_like(total), where=divisor > 0)
