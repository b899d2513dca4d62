"""Validation and test loops whose metrics share one extraction and write their subgroups."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.runner import TestLoop, ValLoop, autocast

from eclip_mm.apis.catalogue_names import prepare_negatives
from eclip_mm.engine.sharded import unsharded
from eclip_mm.registry import EVALUATOR, LOOPS
from eclip_mm.utils.dist import unwrap_model
from eclip_mm.utils.files import write_whole_json


@LOOPS.register_module()
class ProductValLoop(ValLoop):
    """mmengine's loop with three additions.

    A plain list of metrics becomes a ``ProductEvaluator``. Figures by category
    or source, where a metric has ``subgroups``, go to ``subgroups_val.json`` in the
    work directory, which holds those of the latest validation.

    Negative queries that are names of a catalogue are prepared with the weights
    of the moment, see :func:`~eclip_mm.apis.prepare_negatives`.
    """

    def __init__(self, runner, dataloader, evaluator, **kwargs) -> None:
        super().__init__(runner, dataloader, _as_product_evaluator(evaluator), **kwargs)

    def run(self) -> dict:
        """Validate; returns the figures."""
        _prepare_negatives(self)
        figures = super().run()
        _write_subgroups(self, 'subgroups_val.json')
        return figures


@LOOPS.register_module()
class ProductTestLoop(TestLoop):
    """The same for tests, to ``subgroups_test.json``."""

    def __init__(self, runner, dataloader, evaluator, **kwargs) -> None:
        super().__init__(runner, dataloader, _as_product_evaluator(evaluator), **kwargs)

    def run(self) -> dict:
        """Test; returns the figures."""
        _prepare_negatives(self)
        figures = super().run()
        _write_subgroups(self, 'subgroups_test.json')
        return figures


def _as_product_evaluator(evaluator):
    single = isinstance(evaluator, dict) and 'metrics' not in evaluator
    if single or isinstance(evaluator, list):
        return EVALUATOR.build(dict(type='ProductEvaluator', metrics=evaluator))
    return evaluator


def _prepare_negatives(loop) -> None:
    model = loop.runner.model
    with unsharded(model), autocast(enabled=loop.fp16):  # as the texts of the samples
        prepare_negatives(unwrap_model(model), loop.dataloader.dataset, refresh=True)


def _write_subgroups(loop, name: str) -> None:
    """The rows of all metrics, their figures named as in the results."""
    metrics = [metric for metric in loop.evaluator.metrics if getattr(metric, 'subgroups', ())]
    if not metrics or not is_main_process():
        return
    rows = [
        {**row, 'figure': f'{metric.prefix}/{row["figure"]}'}
        for metric in metrics
        for row in metric.tables
    ]
    path = Path(loop.runner.work_dir) / name
    content = dict(iter=loop.runner.iter, rows=rows)
    write_whole_json(path, content)
    keys = dict.fromkeys(key for metric in metrics for key in metric.subgroups)
    print_log(f'figures by {" and ".join(keys)} are in {path}', logger='current')
