"""Figures of subgroups of the queries."""

from collections.abc import Sequence

import numpy as np

from eclip_mm.evaluation.functional.bootstrap import bootstrap_interval


def subgroup_rows(
    scores,
    chance,
    values: Sequence[str | None],
    listed: Sequence[str] = (),
    num_bootstrap: int = 0,
    seed: int = 0,
    groups: Sequence | None = None,
) -> list[dict]:
    """Mean, chance and interval of the queries of each value.

    Args:
        scores: (N,) per-query scores.
        chance: (N,) or scalar, per-query chance.
        values: (N,) the subgroup of each query; queries with None belong to
            none.
        listed: values that have a row even without queries. Their rows come
            first, in this order.
        num_bootstrap: bootstrap resamples of the 95% intervals; 0 for none.
        seed: seed of the bootstrap, the same for every row.
        groups: (N,) the bootstrap draws all queries of one group together.

    Returns:
        Rows ``value``, ``count``, ``mean``, ``chance`` and, with
        ``num_bootstrap``, ``low`` and ``high``. A value without queries has
        count 0 and None for the rest.
    """
    scores = np.asarray(scores, dtype=np.float64)
    chance = np.broadcast_to(np.asarray(chance, dtype=np.float64), scores.shape)
    members: dict = {name: [] for name in listed}
    for name in sorted({value for value in values if value is not None}):
        members.setdefault(name, [])
    for index, value in enumerate(values):
        if value is not None:
            members[value].append(index)
    rows = []
    for name, own in members.items():
        row = dict(value=name, count=len(own), mean=None, chance=None)
        if own:
            row.update(mean=float(scores[own].mean()), chance=float(chance[own].mean()))
        if num_bootstrap:
            ends = (
                bootstrap_interval(
                    scores[own],
                    num_resamples=num_bootstrap,
                    seed=seed,
                    groups=None if groups is None else [groups[i] for i in own],
                )
                if own
                else (None, None)
            )
            row.update(zip(('low', 'high'), ends, strict=True))
        rows.append(row)
    return rows
