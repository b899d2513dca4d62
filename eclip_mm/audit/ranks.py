"""How well a vector fits its own reference, beside all others of its category."""

import numpy as np

#: with fewer other references a rank says nothing
LEAST_REFERENCES = 9
#: with fewer in its category a rank is compared in the whole catalogue
LEAST_IN_CATEGORY = 19
#: references whose cosine is higher are the same one, such as two products of one title
SAME = 1 - 1e-5
#: if more than this fraction seems not to fit, it is the model that is wrong
MOST_MISFITS = 0.2
_BLOCK = 1024


def rank_p_values(
    vectors: np.ndarray,
    own: np.ndarray,
    references: np.ndarray,
    groups: np.ndarray,
    own_vectors: np.ndarray | None = None,
    done=lambda count: None,
) -> np.ndarray:
    """The chance that a reference drawn from the others fits at least as well as the own one.

    Args:
        vectors: (N, D) unit vectors.
        own: (N,) row of each vector's own reference.
        references: (P, D) unit vectors.
        groups: (P,) category of each reference. Where its category has fewer than
            :data:`LEAST_IN_CATEGORY` others, all references are compared.
        own_vectors: (N, D) what stands for the own reference of each vector instead of its row.
        done: called with the number of vectors of each block.

    Returns:
        (N,) float64: ``(1 + number of others that fit as well) / (1 + number of others)``, small
        where the own reference fits. Others that equal the own reference do not count. NaN where
        too few count.
    """
    found = np.full(len(vectors), np.nan)
    order = np.argsort(groups, kind='stable')
    names, starts = np.unique(groups[order], return_index=True)
    members = dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True))
    everything = np.arange(len(references))
    group_of = groups[own]
    for name, rows in members.items():
        ours = np.flatnonzero(group_of == name)
        rows = rows if len(rows) > LEAST_IN_CATEGORY else everything
        others = np.asarray(references[rows])
        place = np.full(len(references), -1)
        place[rows] = np.arange(len(rows))
        for start in range(0, len(ours), _BLOCK):
            block = ours[start : start + _BLOCK]
            mine = np.asarray(references[own[block]])
            x = np.asarray(vectors[block])
            counts = mine @ others.T < SAME  # (n, R)
            counts[np.arange(len(block)), place[own[block]]] = False
            fit = mine if own_vectors is None else np.asarray(own_vectors[block])
            similar = x @ others.T >= np.einsum('nd,nd->n', x, fit)[:, None]
            total = counts.sum(axis=1)
            better = (counts & similar).sum(axis=1)
            p = (1 + better) / (1 + total)
            found[block] = np.where(total >= LEAST_REFERENCES, p, np.nan)
            done(len(block))
    return found


def misfit_fraction(p_values: np.ndarray) -> float:
    """Estimated fraction of what does not fit: twice that of the p-values above 0.5.

    Args:
        p_values: (N,), NaN where there is none.
    """
    p = p_values[~np.isnan(p_values)]
    return min(1.0, 2 * float((p > 0.5).mean())) if len(p) else 0.0


def flag_misfits(p_values: np.ndarray, precision: float = 0.7) -> np.ndarray:
    """Which p-values are those of something that does not fit.

    What does not fit has a reference like any other: its p-values are spread evenly over 0 to 1,
    while those of what fits are small. The upper half therefore tells how many there are, and so
    how many are expected above any threshold (as Storey estimates the fraction of true nulls).
    The threshold is the lowest above which that many are at least ``precision`` of all.

    Args:
        p_values: (N,), NaN where there is none.
        precision: least estimated precision of what is flagged.

    Returns:
        (N,) bool; all False where the upper half is empty, and where more than
        :data:`MOST_MISFITS` seem not to fit: a model that knows nothing of the catalogue gives
        such p-values, and its fixes would exclude most of it.
    """
    p = np.nan_to_num(p_values, nan=0.0)
    upper = (p > 0.5).sum()
    if upper == 0 or misfit_fraction(p_values) > MOST_MISFITS:
        return np.zeros(len(p), bool)
    # from the highest down: what is expected above t is 2 * upper * (1 - t)
    thresholds = np.unique(p[p > 0.05])
    above = np.array([(p >= t).sum() for t in thresholds])
    expected = np.minimum(2 * upper * (1 - thresholds), above)
    # few in the upper half are no estimate
    good = (expected >= precision * above) & (thresholds <= 0.5) & (upper >= 5)
    lowest = thresholds[good].min() if good.any() else 0.5
    return p >= lowest
