"""Base of the product metrics: splits, gathering, figures with chance, subgroups."""

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from eclip_mm.datasets.collate import first_pictures
from eclip_mm.evaluation.functional import bootstrap_interval, subgroup_rows
from eclip_mm.evaluation.metrics.subgroup_tables import subgroup_tables

#: what queries can be grouped by
SUBGROUPS = ('category', 'source')


class ProductMetric(BaseMetric):
    """Base of the metrics over :class:`~eclip_mm.structures.ProductDataSample`.

    A subclass defines what to keep of a sample (:meth:`describe_sample`, small
    and without tensors) and how to compute the figures of the gathered set
    (:meth:`measure`). All figures lie in [0, 1]. Each comes with
    ``<figure>_chance``, the expected score of guessing, and, with
    ``num_bootstrap``, with ``<figure>_low`` and ``<figure>_high``, its 95%
    bootstrap interval over products (all queries of a product are drawn
    together).

    Every sample leaves exactly one entry in ``results``; samples of other
    splits leave the name of their split. mmengine's gathering across ranks can
    therefore restore the order of the data set and drop the samples that a
    distributed sampler repeated at the end. Figures do not depend on the
    number of ranks.

    ``subgroups`` repeats every figure for the queries of each category or each
    image source; the gallery stays whole. The rows are logged and kept in
    :attr:`tables` on the main rank, and the loops of
    ``eclip_mm.engine.evaluation_loops`` write them to ``subgroups_val.json`` or
    ``subgroups_test.json`` in the work directory. A row has ``by``, ``value``,
    ``figure``, ``count``, ``mean``, ``chance`` and, with ``num_bootstrap``,
    ``low`` and ``high``. Queries without a category have the value ``(none)``.

    An empty set (no sample of the split) gives a warning that names the splits
    seen, a count of 0, and no figures.

    Args:
        split: measure only samples whose ``split`` is this one. Defaults to
            all.
        num_bootstrap: bootstrap resamples for the intervals; the default 0
            gives no intervals.
        seed: seed of the bootstrap.
        subgroups: any of ``category`` and ``source`` (of the first picture).
            Defaults to none.
        collect_device, collect_dir: as in
            :class:`mmengine.evaluator.BaseMetric`.
        prefix: as in :class:`mmengine.evaluator.BaseMetric`; two metrics of
            one class need different ones.
    """

    def __init__(
        self,
        split: str | None = None,
        num_bootstrap: int = 0,
        seed: int = 0,
        subgroups: Sequence[str] = (),
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.split = split
        self.splits = None if split is None else (split,)  #: the measured ones
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        if isinstance(subgroups, str) or not set(subgroups) <= set(SUBGROUPS):
            raise ValueError(
                f'{type(self).__name__}: subgroups is a list of {SUBGROUPS}, got {subgroups!r}'
            )
        self.subgroups = tuple(subgroups)
        self.tables: list[dict] = []
        #: category or source -> values that have a row even without queries
        self.listed: dict[str, Sequence[str]] = {}

    @abstractmethod
    def describe_sample(self, sample: dict, image: torch.Tensor | None) -> dict:
        """Keep what the figures need.

        Args:
            sample: ``ProductDataSample.to_dict()`` with predictions.
            image: (3, H, W) uint8, the first picture as it came from the
                loader; None if the batch has none.

        Returns:
            Plain values and small arrays.
        """

    @abstractmethod
    def measure(self, records: list[dict]) -> dict:
        """Compute the figures of the whole set.

        Args:
            records: what :meth:`describe_sample` kept, in the order of the
                data set; may be empty.

        Returns:
            Figures and counts.
        """

    def figure_names(self) -> set[str] | None:
        """Names of the figures that :meth:`measure` can give, without counts and prefix.

        A training checks by them that ``save_best`` names a figure. None, the default, for a
        metric that does not tell.
        """
        return None

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep what the figures need of one batch.

        Args:
            data_batch: batch of the loader.
            data_samples: samples with predictions.
        """
        pictures = _pictures_of(data_batch)
        for index, sample in enumerate(data_samples):
            split = sample.get('split', '')
            if self.splits is not None and split not in self.splits:
                self.results.append(split)
                continue
            image = pictures[index] if pictures is not None else None
            record = self.describe_sample(sample, image)
            record['product_id'] = sample.get('product_id')
            if self.subgroups:
                record['subgroups'] = {by: self._subgroup_of(sample, by) for by in self.subgroups}
            self.results.append(record)

    def _subgroup_of(self, sample: dict, by: str) -> str:
        if by == 'source':
            return get_source(sample, type(self).__name__)
        return sample.get('category') or '(none)'

    def compute_metrics(self, results: list) -> dict:
        """Compute the figures of the gathered set (mmengine calls it on the main rank)."""
        records = [item for item in results if not isinstance(item, str)]
        if not records:
            seen = Counter(item for item in results if isinstance(item, str))
            self.warn(
                f'no sample of split {" or ".join(map(repr, self.splits or [None]))}; seen: '
                f'{dict(seen)}. Its figures are left out.'
            )
        self.tables = []
        figures = self.measure(records)
        for by, table in subgroup_tables(self.tables):
            name = f'{type(self).__name__} (prefix {self.prefix!r})'
            print_log(f'{name} by {by}:\n{table}', logger='current')
        # Counts become floats: mmengine logs them through numpy, and its JSON drops integers.
        return {key: float(value) for key, value in figures.items()}

    def named_figures(self, results: list) -> dict:
        """Compute the figures of the gathered set, with the prefix in their names."""
        return {f'{self.prefix}/{k}': v for k, v in self.compute_metrics(results).items()}

    def evaluate(self, size: int) -> dict:
        """Gather and measure alone: mmengine's entry point, unused by ``ProductEvaluator``."""
        try:
            return super().evaluate(size)
        finally:
            self.reset()

    def reset(self) -> None:
        """Clear the state of one evaluation."""
        self.results.clear()

    def warn(self, message: str) -> None:
        """Log a warning that names the metric."""
        name = f'{type(self).__name__} (prefix {self.prefix!r})'
        print_log(f'{name}: {message}', logger='current', level=logging.WARNING)

    def add_figure(
        self, figures: dict, name: str, scores, chance, records: Sequence[dict]
    ) -> None:
        """Add a mean with its chance and, if asked for, its interval and subgroups.

        Args:
            figures: receives ``name``, ``name_chance`` and, with
                ``num_bootstrap``, ``name_low`` and ``name_high``.
            name: key of the figure.
            scores: (N,) per-query scores, N >= 1.
            chance: (N,) or scalar, per-query chance.
            records: (N,) the queries' records; the bootstrap draws all queries
                of a product together.
        """
        products = None
        if self.num_bootstrap:
            products = encode([record['product_id'] for record in records])
        figures[name] = float(np.mean(scores))
        figures[f'{name}_chance'] = float(np.mean(chance))
        if self.num_bootstrap:
            low, high = bootstrap_interval(
                scores, num_resamples=self.num_bootstrap, seed=self.seed, groups=products
            )
            figures[f'{name}_low'], figures[f'{name}_high'] = low, high
        for by in self.subgroups:
            values = [record['subgroups'].get(by) for record in records]
            listed = self.listed.get(by, ())
            rows = subgroup_rows(
                scores, chance, values, listed, self.num_bootstrap, self.seed, products
            )
            self.tables += [dict(by=by, figure=name, **row) for row in rows]


def _pictures_of(data_batch) -> torch.Tensor | None:
    """First pictures of a loader's batch, (B, 3, H, W); None if it has no such tensor."""
    inputs = data_batch.get('inputs') if isinstance(data_batch, dict) else None
    return first_pictures(inputs) if isinstance(inputs, dict) else None


def get_field(sample: dict, key: str, metric: str):
    """Return a field of a data sample.

    Raises:
        KeyError: the sample lacks it; the message names metric, field,
            product and the component that writes the field.
    """
    if sample.get(key) is None:
        source = (
            "the model's predict()"
            if key.startswith('pred_')
            else 'the pipeline (PackProductInputs)'
        )
        raise KeyError(
            f'{metric} needs the field {key!r} of every data sample, product '
            f'{sample.get("product_id")!r} has none; {source} writes it'
        )
    return sample[key]


def get_feature(sample: dict, key: str, metric: str) -> np.ndarray:
    """Return a predicted feature as a (D,) float32 array.

    Raises:
        KeyError: the sample lacks it.
        ValueError: it is not finite, or not a vector.
    """
    feat = get_field(sample, key, metric)
    if isinstance(feat, torch.Tensor):
        feat = feat.detach().cpu().float().numpy().copy()  # a view would keep the batch in memory
    feat = np.asarray(feat, dtype=np.float32)
    if feat.ndim != 1 or not np.isfinite(feat).all():
        raise ValueError(
            f'{metric}: {key} of product {sample.get("product_id")!r} is not a '
            f'finite vector (shape {feat.shape}): has the training diverged?'
        )
    return feat


def get_source(sample: dict, metric: str) -> str:
    """Return the source of a sample's first picture."""
    return get_field(sample, 'sources', metric)[0]


def check_topk(topk: Sequence[int], metric: str) -> tuple[int, ...]:
    """Check cut-offs and return them as a tuple.

    Raises:
        ValueError: there is none, or one is not a positive integer.
    """
    topk = (topk,) if isinstance(topk, int) else tuple(topk)
    if not topk or any(not isinstance(k, int) or k < 1 for k in topk):
        raise ValueError(f'{metric}: topk is a list of positive integers, got {topk!r}')
    return topk


def encode(values: Sequence[str]) -> np.ndarray:
    """Replace values by integers: (N,) int64, equal for equal values."""
    codes: dict = {}
    return np.array([codes.setdefault(value, len(codes)) for value in values], dtype=np.int64)
