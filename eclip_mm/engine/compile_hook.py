"""Compiles the model at the start of a training."""

from mmengine.hooks import Hook

from eclip_mm.models.compiled import compile_parts
from eclip_mm.registry import HOOKS
from eclip_mm.utils.dist import unwrap_model


@HOOKS.register_module()
class CompileHook(Hook):
    """Lets a training compile encoders, decoder and heads, see :func:`compile_parts`.

    Only training compiles: a run that evaluates or predicts needs no compiler.

    Args:
        enabled: Whether to compile at all. The hook stands in the base config
            switched off, so that ``--cfg-options
            default_hooks.compile.enabled=True`` switches it on.
        fullgraph: A part that cannot be one graph is an error.
        options: Of ``torch.compile``, such as ``mode='max-autotune'``.
    """

    def __init__(self, enabled: bool = False, fullgraph: bool = True, **options):
        self.enabled = enabled
        self.options = dict(options, fullgraph=fullgraph)

    def before_train(self, runner) -> None:
        if self.enabled:
            compile_parts(unwrap_model(runner.model), **self.options)
