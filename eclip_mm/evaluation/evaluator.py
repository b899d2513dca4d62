"""An evaluator that keeps one copy of the predictions for all metrics."""

from collections import Counter
from collections.abc import Sequence

import torch
from mmengine.dist import broadcast_object_list, collect_results, is_main_process
from mmengine.evaluator import BaseMetric, Evaluator

from eclip_mm.evaluation.metrics import ProductMetric, ProductRetrieval
from eclip_mm.evaluation.metrics.shared_search import SharedSearch, search
from eclip_mm.registry import EVALUATOR


@EVALUATOR.register_module()
class ProductEvaluator(Evaluator):
    """Evaluator whose metrics share the arrays that they keep of a sample.

    In mmengine's evaluator each metric copies and gathers separately, so that
    a feature that five metrics need is stored and sent five times. Here
    predictions are converted to numpy once, all metrics keep references to the
    same arrays, and the ranks gather once. A gathered entry holds every
    metric's record of one sample; pickle writes an array that they share once.
    Only the main rank holds the gathered set. It computes the figures and
    sends them to the others. Retrieval metrics that rank the same gallery for
    the same queries search once. The figures equal those of mmengine's
    evaluator.

    Metrics that are no :class:`~eclip_mm.evaluation.ProductMetric` run as in
    mmengine's evaluator.

    With ``ProductValLoop`` and ``ProductTestLoop``, ``val_evaluator`` and
    ``test_evaluator`` may be a plain list of metrics.

    Args:
        metrics: the metrics or their configs.
        collect_device: ``cpu`` (the default; through files that the main rank
            reads one after the other) or ``gpu`` (every rank receives the
            whole set). It replaces the product metrics' own setting.
        collect_dir: folder for those files, visible to all ranks. Defaults to
            one under the working directory.

    Raises:
        ValueError: unknown ``collect_device``, or ``collect_dir`` with ``gpu``.
    """

    def __init__(
        self,
        metrics: dict | BaseMetric | Sequence,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(metrics)
        if collect_device not in ('cpu', 'gpu') or (collect_dir and collect_device == 'gpu'):
            raise ValueError(
                f"collect_device is 'cpu' or 'gpu' and collect_dir goes with 'cpu', got "
                f'{collect_device!r} and {collect_dir!r}'
            )
        self.collect_device = collect_device
        self.collect_dir = collect_dir
        self.shared = [m for m in self.metrics if isinstance(m, ProductMetric)]
        self.others = [m for m in self.metrics if not isinstance(m, ProductMetric)]

    def process(self, data_samples: Sequence, data_batch=None) -> None:
        """Let each metric keep what it needs of one batch.

        Args:
            data_samples: samples with predictions.
            data_batch: batch of the loader.
        """
        samples = [s if isinstance(s, dict) else s.to_dict() for s in data_samples]
        for metric in self.others:
            metric.process(data_batch, samples)
        samples = [_with_arrays(sample) for sample in samples]
        for metric in self.shared:
            metric.process(data_batch, samples)

    def evaluate(self, size: int) -> dict:
        """Gather once and compute the figures.

        Args:
            size: number of samples in the data set; samples that a distributed
                sampler repeated beyond it are dropped.

        Returns:
            Figures of all metrics, the same on every rank.

        Raises:
            ValueError: two metrics give a figure of the same name.
        """
        rows = list(zip(*(metric.results for metric in self.shared), strict=True))
        figures: list = [None]
        try:
            gathered = collect_results(rows, size, self.collect_device, self.collect_dir)
            if is_main_process():
                figures = [self._measure(gathered)]
            broadcast_object_list(figures)
        finally:
            for metric in self.shared:
                metric.reset()
        of_metric = dict(zip(map(id, self.shared), figures[0], strict=True))
        parts = [
            of_metric[id(m)] if id(m) in of_metric else m.evaluate(size) for m in self.metrics
        ]
        twice = [
            key for key, times in Counter(k for part in parts for k in part).items() if times > 1
        ]
        if twice:
            raise ValueError(
                f'two metrics give a figure {twice[0]!r}: give them different prefixes'
            )
        return {key: value for part in parts for key, value in part.items()}

    def _measure(self, gathered: list) -> list[dict]:
        """Compute each product metric's figures from one row of records per sample."""
        retrieval = [m for m in self.shared if isinstance(m, ProductRetrieval)]
        shared_search = SharedSearch()
        for metric in retrieval:
            metric.search = shared_search
        # the longest ranking first, as the shorter ones can be cut from it
        depth = {id(metric): max(metric.topk) for metric in retrieval}
        order = sorted(range(len(self.shared)), key=lambda i: -depth.get(id(self.shared[i]), 0))
        figures: list = [None] * len(self.shared)
        try:
            for index in order:
                rows = [row[index] for row in gathered]
                figures[index] = self.shared[index].named_figures(rows)
        finally:
            for metric in retrieval:
                metric.search = search
        return figures


def _with_arrays(sample: dict) -> dict:
    """Convert the predictions of a sample to float32 arrays that own their memory."""
    return {
        key: value.detach().float().cpu().numpy().copy()
        if key.startswith('pred_') and isinstance(value, torch.Tensor)
        else value
        for key, value in sample.items()
    }
