"""Validation and test loops whose metrics share one extraction and write their subgroups."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.runner import TestLoop, ValLoop

from eclip_mm.registry import EVALUATOR, LOOPS
from eclip_mm.utils.files import write_whole_json


@LOOPS.register_module()
class ProductValLoop(ValLoop):
    """mmengine's loop with two additions.

    A plain list of metrics becomes a ``ProductEvaluator``. Figures by category
    or source, where a metric has ``subgroups``, go to ``subgroups_val.json`` in the
    work directory, which holds those of the latest validation.
    """

    def __init__(self, runner, dataloader, evaluator, **kwargs) -> None:
        super().__init__(runner, dataloader, _as_product_evaluator(evaluator), **kwargs)

    def run(self) -> dict:
        """Validate; returns the figures."""
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
        figures = super().run()
        _write_subgroups(self, 'subgroups_test.json')
        return figures


def _as_product_evaluator(evaluator):
    single = isinstance(evaluator, dict) and 'metrics' not in evaluator
    if single or isinstance(evaluator, list):
        return EVALUATOR.build(dict(type='ProductEvaluator', metrics=evaluator))
    return evaluator


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
