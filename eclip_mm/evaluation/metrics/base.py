"""What all metrics of products share: splits, gathering, figures with chance."""

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from eclip_mm.evaluation.functional import bootstrap_interval, slice_rows
from eclip_mm.evaluation.metrics.slice_tables import slice_tables

#: what figures can be told apart by
SLICES = ('category', 'source')


class ProductMetric(BaseMetric):
    """Base of the metrics over :class:`~eclip_mm.structures.ProductDataSample`.

    A subclass says what to keep of a sample (:meth:`describe_sample`, small
    and free of tensors) and what the figures of the gathered set are
    (:meth:`measure`). All figures lie in [0, 1]; each comes with
    ``<figure>_chance``, what guessing would score, and, with
    ``num_bootstrap``, with ``<figure>_low`` and ``<figure>_high``, its 95%
    bootstrap interval over products (all queries of one are drawn together).

    Every sample leaves exactly one entry in ``results``, those of other splits
    only their split's name. So mmengine's gathering across ranks restores the
    order of the data set and cuts the samples that a distributed sampler
    repeated at the end, whatever the split: figures do not depend on the
    number of ranks.

    ``slices`` repeats every figure for the queries of each category or image
    source apart; what they search in stays whole. The rows are logged, stay in
    :attr:`tables` on the main rank, and the loops of
    ``eclip_mm.engine.evaluation_loops`` write them to ``slices_val.json`` or
    ``slices_test.json`` in the work directory. A row is ``slice``, ``value``,
    ``figure``, ``count``, ``mean``, ``chance`` and, with ``num_bootstrap``,
    ``low`` and ``high``. Queries without category are those of ``(none)``.

    An empty set (no sample of the split) is a warning that names the splits
    seen, a count of 0, and no figures.

    Args:
        split: Only samples whose ``split`` is this one.
            Defaults to all.
        num_bootstrap: Bootstrap resamples for the intervals; 0, the
            default, leaves them out.
        seed: Seed of the bootstrap.
        slices: Any of ``category``, ``source`` (of the first
            picture). Defaults to none.
        collect_device: As in :class:`mmengine.evaluator.BaseMetric`.
        prefix: Likewise; two metrics of one class need
            different ones.
        collect_dir: Likewise.
    """

    def __init__(
        self,
        split: str | None = None,
        num_bootstrap: int = 0,
        seed: int = 0,
        slices: Sequence[str] = (),
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.split = split
        self.splits = None if split is None else (split,)  #: those that are measured
        self.num_bootstrap = num_bootstrap
        self.seed = seed
        if isinstance(slices, str) or not set(slices) <= set(SLICES):
            raise ValueError(
                f'{type(self).__name__}: slices is a list of {SLICES}, got {slices!r}'
            )
        self.slices = tuple(slices)
        self.tables: list[dict] = []
        #: slice -> values that are listed even where no query has them
        self.listed: dict[str, Sequence[str]] = {}

    @abstractmethod
    def describe_sample(self, sample: dict, image: torch.Tensor | None) -> dict:
        """Keep what the figures need.

        Args:
            sample: ``ProductDataSample.to_dict()`` with predictions.
            image: (3, H, W) uint8, the first picture as it
                came from the loader, where the batch has it.

        Returns:
            Plain values and small arrays.
        """

    @abstractmethod
    def measure(self, records: list[dict]) -> dict:
        """Figures of the whole set.

        Args:
            records: What :meth:`describe_sample` kept, in the
                order of the data set; may be empty.

        Returns:
            Figures and counts.
        """

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep what is needed of one batch.

        Args:
            data_batch: Batch of the loader.
            data_samples: Samples with predictions.
        """
        images = _images_of(data_batch)
        for index, sample in enumerate(data_samples):
            split = sample.get('split', '')
            if self.splits is not None and split not in self.splits:
                self.results.append(split)
                continue
            image = images[index, 0] if images is not None else None
            record = self.describe_sample(sample, image)
            record['product_id'] = sample.get('product_id')
            if self.slices:
                record['slices'] = {key: self._slice_of(sample, key) for key in self.slices}
            self.results.append(record)

    def _slice_of(self, sample: dict, key: str) -> str:
        if key == 'source':
            return get_source(sample, type(self).__name__)
        return sample.get('category') or '(none)'

    def compute_metrics(self, results: list) -> dict:
        """Figures of the gathered set (called by mmengine on the main rank)."""
        records = [item for item in results if not isinstance(item, str)]
        if not records:
            seen = Counter(item for item in results if isinstance(item, str))
            self.warn(
                f'no sample of split {" or ".join(map(repr, self.splits or [None]))}; seen: '
                f'{dict(seen)}. Its figures are left out.'
            )
        self.tables = []
        figures = self.measure(records)
        for key, table in slice_tables(self.tables):
            name = f'{type(self).__name__} (prefix {self.prefix!r})'
            print_log(f'{name} by {key}:\n{table}', logger='current')
        # counts as floats: mmengine's log passes through numpy, and its JSON file drops integers
        return {key: float(value) for key, value in figures.items()}

    def named_figures(self, results: list) -> dict:
        """Figures of the gathered set with the prefix in their names."""
        return {f'{self.prefix}/{k}': v for k, v in self.compute_metrics(results).items()}

    def evaluate(self, size: int) -> dict:
        """Gather and measure on its own (mmengine's entry; not under ``ProductEvaluator``)."""
        try:
            return super().evaluate(size)
        finally:
            self.reset()

    def reset(self) -> None:
        """Forget what belongs to one evaluation."""
        self.results.clear()

    def warn(self, message: str) -> None:
        """Log a warning that names the metric."""
        name = f'{type(self).__name__} (prefix {self.prefix!r})'
        print_log(f'{name}: {message}', logger='current', level=logging.WARNING)

    def add_figure(
        self, figures: dict, name: str, scores, chance, records: Sequence[dict]
    ) -> None:
        """Put a mean with its chance, its interval and slices where wanted.

        Args:
            figures: Receives ``name``, ``name_chance`` and with
                ``num_bootstrap`` ``name_low`` and ``name_high``.
            name: Key of the figure.
            scores: (N,) per-query scores, N >= 1.
            chance: (N,) or scalar, per-query chance.
            records: (N,) the records that ask the queries; the
                bootstrap draws all of a product at a time.
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
        for key in self.slices:
            values = [record['slices'].get(key) for record in records]
            listed = self.listed.get(key, ())
            rows = slice_rows(
                scores, chance, values, listed, self.num_bootstrap, self.seed, products
            )
            self.tables += [dict(slice=key, figure=name, **row) for row in rows]


def _images_of(data_batch) -> torch.Tensor | None:
    """(B, V, 3, H, W) pictures of a loader's batch, None where it has no such tensor."""
    if not isinstance(data_batch, dict) or not isinstance(data_batch.get('inputs'), dict):
        return None
    images = data_batch['inputs'].get('images')
    return images if isinstance(images, torch.Tensor) and images.ndim == 5 else None


def get_field(sample: dict, key: str, metric: str):
    """A field of a data sample.

    Raises:
        KeyError: The sample lacks it; the message names metric, field and
            product and says who should have written it.
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
    """A predicted feature as (D,) float32 array.

    Raises:
        KeyError: The sample lacks it.
        ValueError: It is not finite, or not a vector.
    """
    feat = get_field(sample, key, metric)
    if isinstance(feat, torch.Tensor):
        feat = feat.detach().cpu().float().numpy().copy()  # a view would keep the batch alive
    feat = np.asarray(feat, dtype=np.float32)
    if feat.ndim != 1 or not np.isfinite(feat).all():
        raise ValueError(
            f'{metric}: {key} of product {sample.get("product_id")!r} is not a '
            f'finite vector (shape {feat.shape}): has the training diverged?'
        )
    return feat


def get_source(sample: dict, metric: str) -> str:
    """Where the first picture of a sample came from."""
    return get_field(sample, 'sources', metric)[0]


def check_topk(topk: Sequence[int], metric: str) -> tuple[int, ...]:
    """Validate cut-offs.

    Raises:
        ValueError: Empty, or one is not a positive integer.
    """
    topk = (topk,) if isinstance(topk, int) else tuple(topk)
    if not topk or any(not isinstance(k, int) or k < 1 for k in topk):
        raise ValueError(f'{metric}: topk is a list of positive integers, got {topk!r}')
    return topk


def encode(values: Sequence[str]) -> np.ndarray:
    """(N,) int64 codes, equal for equal values."""
    codes: dict = {}
    return np.array([codes.setdefault(value, len(codes)) for value in values], dtype=np.int64)
