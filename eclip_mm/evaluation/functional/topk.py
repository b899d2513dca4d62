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

# Pairs whose components are read at a time to score them: 2 MB at 512 dimensions.
_PAIRS = 512


def topk_similarity(
    query,
    gallery,
    k: int,
    *,
    tile: int | tuple[int, int] = (4096, 4096),
    exclude=None,
    unit_gallery: bool = False,
):
    """Find the k nearest gallery items of each query by cosine similarity, exactly.

    The search works in tiles. Beside the features it needs the memory of a few
    tiles (about 0.5 GiB with the default tiles and k = 10, at any size) and
    never a query x gallery matrix. Ties are broken by the lowest gallery
    index, and the result is the same for every tile size and device, bit for
    bit.

    On a CPU most tiles cost only a float32 matrix product: it bounds each
    similarity from both sides, and only the pairs that can belong to the
    nearest k are scored exactly, at the end.

    Args:
        query: (Nq, D) features, any length; they are normalised here. A zero
            vector has similarity 0 with everything.
        gallery: (Ng, D) features: a tensor, an array, or an object with
            ``shape`` that returns an array for a slice or an array of indices.
        k: number of neighbours.
        tile: number of queries and of gallery items in a tile.
        exclude: (Nq,) gallery index that a query must not find (itself); -1
            for none.
        unit_gallery: the rows of ``gallery`` are finite float32 arrays that
            were normalised in at least that precision, so it is not done again.

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
    num_query, num_gallery = query.shape[0], gallery.shape[0]
    k = min(k, num_gallery)
    query_tile, gallery_tile = (tile, tile) if isinstance(tile, int) else tile
    device = torch.device('cpu')
    if isinstance(query, torch.Tensor) and query.device.type == 'cuda':
        device = query.device
    exclude = _check_exclude(exclude, num_query, num_gallery)
    # the bound does not hold on a GPU, or if float32 products may be less precise
    prefilter = (
        device.type == 'cpu'
        and not torch.is_autocast_enabled('cpu')
        and torch.get_float32_matmul_precision() == 'highest'
        and query.shape[1] <= _MAX_DIMS
    )

    scores = np.full((num_query, k), -np.inf)
    indices = np.full((num_query, k), -1, dtype=np.int64)
    for start in range(0, num_query if k else 0, query_tile):
        rows = slice(start, min(start + query_tile, num_query))
        nearest = _Nearest(_grid_rows(query, rows, 'query'), gallery, k)
        for col in range(0, num_gallery, gallery_tile):
            cols = slice(col, min(col + gallery_tile, num_gallery))
            banned = None if exclude is None else _inside(exclude[rows] - col, cols.stop - col)
            found = None
            if prefilter:
                right = _unit_rows(gallery, cols, unit_gallery)
                found = _above(nearest.approx, right, nearest.bar, nearest.error, banned)
            if found is None:
                left = torch.from_numpy(nearest.query).to(device)
                right = torch.from_numpy(_grid_rows(gallery, cols, 'gallery')).to(device)
                found = _all_pairs(left, right, k, banned)
            nearest.add(found[0], found[1] + col, found[2])
        scores[rows], indices[rows] = nearest.result()
    if isinstance(query, torch.Tensor):
        return tuple(torch.from_numpy(x).to(query.device) for x in (scores, indices))
    return scores, indices


class _Nearest:
    """The pairs that may be among the nearest k of the queries of a tile.

    Args:
        query: (n, D) queries on the grid.
        gallery: the whole gallery.
        k: number of neighbours, at most the size of the gallery.

    Attributes:
        approx: (n, D) float32 unit queries.
        bar: (n, k) highest approximate scores so far, descending. A pair that lies below the last
            one by more than twice ``error`` has k pairs above it.
        error: largest difference of an approximate score and the exact one.
    """

    def __init__(self, query: np.ndarray, gallery, k: int) -> None:
        self.query, self.gallery, self.k = query, gallery, k
        self.approx = torch.from_numpy((query / _GRID).astype(np.float32))
        self.bar = torch.full((len(query), k), -torch.inf)
        self.error = _error_bound(query.shape[1])
        self.pairs = [np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)]

    def add(self, row: np.ndarray, column: np.ndarray, value: np.ndarray) -> None:
        """Add pairs of a tile, in row order, with their approximate scores."""
        if not len(row):
            return
        self._raise_bar(row, value)
        added = zip(self.pairs, (row, column, value), strict=True)
        self.pairs = [np.concatenate(pair) for pair in added]
        if len(self.pairs[0]) > len(self.query) * (2 * self.k + 64):
            self._keep(self._possible())
            if len(self.pairs[0]) > len(self.query) * (self.k + 32):  # many near-ties
                self._keep(self._best()[0])

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, k) scores and indices; where there are too few pairs, -inf and -1."""
        self._keep(self._possible())
        order, score, place = self._best()
        scores = np.full((len(self.query), self.k), -np.inf)
        indices = np.full(scores.shape, -1, dtype=np.int64)
        row = self.pairs[0][order]
        scores[row, place], indices[row, place] = score / _GRID**2, self.pairs[1][order]
        return scores, indices

    def _raise_bar(self, row, value) -> None:
        rows, first, count = np.unique(row, return_index=True, return_counts=True)
        padded = torch.full((len(rows), self.k + int(count.max())), -torch.inf)
        padded[:, : self.k] = self.bar[rows]
        place = self.k + np.arange(len(row)) - np.repeat(first, count)
        padded[np.repeat(np.arange(len(rows)), count), place] = torch.from_numpy(value)
        self.bar[rows] = padded.topk(self.k, dim=1).values

    def _possible(self) -> np.ndarray:
        row, _, value = self.pairs
        return np.flatnonzero(value >= _least(self.bar, self.error).numpy()[row, 0])

    def _best(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best k pairs of each row: which they are, their exact scores and their ranks."""
        row, column, _ = self.pairs
        score = np.empty(len(row))
        by_row = np.argsort(row, kind='stable')
        for start in range(0, len(row), _PAIRS):
            part = by_row[start : start + _PAIRS]
            right = _grid_rows(self.gallery, column[part], 'gallery')
            score[part] = np.einsum('ij,ij->i', self.query[row[part]], right)
        order = np.lexsort((column, -score, row))
        _, first, count = np.unique(row[order], return_index=True, return_counts=True)
        place = np.arange(len(order)) - np.repeat(first, count)
        best = place < self.k
        return order[best], score[order[best]], place[best]

    def _keep(self, which: np.ndarray) -> None:
        self.pairs = [values[which] for values in self.pairs]


def _error_bound(dims: int) -> float:
    """Bound the difference of an approximate cosine and the exact one on the grid.

    With unit roundoff u = 2^-24, a float32 product of two vectors differs from
    the exact one by less than (D + 2) u (1 + D u) |x| |y| for any order of
    summation (Higham, Accuracy and Stability of Numerical Algorithms, section
    3.1). A vector that was normalised in float32 differs from the one on the
    grid by less than (3 + sqrt(D) / 8) u: three roundings, and half a step of
    2^-26 in each component.
    """
    return 1.01 * (dims + dims**0.5 + 16) * 2.0**-24


def _least(bar: torch.Tensor, error: float) -> torch.Tensor:
    """(n, 1) lowest approximate score of a pair that may be among the nearest k."""
    # an excluded pair has -inf, and must not be found where there are fewer than k others
    return (bar[:, -1:] - 2 * error).clamp(min=torch.finfo(torch.float32).min)


def _grid_rows(feats, index, name: str) -> np.ndarray:
    """Normalise the rows of a slice or an array of indices and round them to the grid."""
    if isinstance(feats, torch.Tensor):
        index_ = index if isinstance(index, slice) else torch.from_numpy(index).to(feats.device)
        rows = feats[index_].detach().cpu().double().numpy()
    else:
        rows = feats[index]
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    # The sum runs over one contiguous row, so it does not depend on other rows.
    norm = np.sqrt((rows * rows).sum(1, keepdims=True))
    _check_finite(norm, index, name)
    return np.rint(rows / np.where(norm > 0, norm, 1) * _GRID)


def _unit_rows(gallery, rows: slice, unit: bool) -> torch.Tensor:
    """Rows of the gallery as float32 unit vectors."""
    part = gallery[rows]
    if not isinstance(part, torch.Tensor):
        part = torch.from_numpy(part)
    part = part.detach().cpu()
    if unit:
        return part
    if part.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return torch.from_numpy(_grid_rows(gallery, rows, 'gallery') / _GRID).float()
    part = part.float()
    norm = torch.linalg.vector_norm(part, dim=1, keepdim=True, dtype=torch.float64)
    _check_finite(norm.numpy(), rows, 'gallery')
    if ((norm < 1e-30) | (norm > 1e30)).any():  # float32 would lose bits, or the sign of a zero
        return torch.from_numpy(_grid_rows(gallery, rows, 'gallery') / _GRID).float()
    return part / norm.float()


def _check_finite(norm: np.ndarray, index, name: str) -> None:
    bad = ~np.isfinite(norm[:, 0])
    if bad.any():
        row = int(bad.argmax())
        row = index.start + row if isinstance(index, slice) else index[row]
        raise ValueError(f'{name} feature {row} has a value that is not finite')


def _check_exclude(exclude, num_query: int, num_gallery: int) -> np.ndarray | None:
    if exclude is None:
        return None
    exclude = torch.as_tensor(exclude, dtype=torch.long).cpu().numpy()
    inside = ((exclude >= -1) & (exclude < num_gallery)).all()
    if exclude.shape != (num_query,) or not inside:
        raise ValueError(
            f'exclude has one index below {num_gallery} (or -1) for each of {num_query} queries'
        )
    return exclude


def _inside(column: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose column lies in the tile, and that column."""
    here = np.flatnonzero((column >= 0) & (column < width))
    return here, column[here]


def _all_pairs(left, right, k: int, banned):
    """Return the tile's top k of each row as flat rows, columns and scores, in row order."""
    part = left @ right.T
    if banned is not None:
        part[banned] = -torch.inf
    value, column = _row_topk(part, min(k, part.shape[1]))
    row = np.repeat(np.arange(len(left)), value.shape[1])
    value = (value / _GRID**2).float().flatten().cpu().numpy()
    there = value > -np.inf
    return row[there], column.flatten().cpu().numpy()[there], value[there]


def _above(left, right, bar, error: float, banned):
    """Return the pairs that may be among the nearest k; None if too many might.

    The pairs are in the form of :func:`_all_pairs`.
    """
    approx = left @ right.T
    if banned is not None:
        approx[banned] = -torch.inf
    k = bar.shape[1]
    if bar[0, -1] == -torch.inf:  # the first tile: some of its columns give the bar
        some = approx[:, : max(512, 8 * k)]
        bar = some.topk(min(k, some.shape[1]), dim=1).values
        if some.shape[1] < k:
            return None
    # numpy's passes over booleans take a fraction of torch's time
    approx, least = approx.numpy(), _least(bar, error).numpy()
    maybe = np.flatnonzero(approx >= least)
    if len(maybe) > approx.size // 32:  # scoring single pairs would take longer
        return None
    row, column = np.divmod(maybe, approx.shape[1])
    return row, column, approx.reshape(-1)[maybe]


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
