"""Validation and test loops whose list of metrics shares one extraction."""

from mmengine.runner import TestLoop, ValLoop

from eclip_mm.registry import EVALUATOR, LOOPS


@LOOPS.register_module()
class ProductValLoop(ValLoop):
    """mmengine's loop; a plain list of metrics becomes a ``ProductEvaluator``."""

    def __init__(self, runner, dataloader, evaluator, **kwargs) -> None:
        super().__init__(runner, dataloader, _share(evaluator), **kwargs)


@LOOPS.register_module()
class ProductTestLoop(TestLoop):
    """mmengine's loop; a plain list of metrics becomes a ``ProductEvaluator``."""

    def __init__(self, runner, dataloader, evaluator, **kwargs) -> None:
        super().__init__(runner, dataloader, _share(evaluator), **kwargs)


def _share(evaluator):
    single = isinstance(evaluator, dict) and 'metrics' not in evaluator
    if single or isinstance(evaluator, list):
        return EVALUATOR.build(dict(type='ProductEvaluator', metrics=evaluator))
    return evaluator
