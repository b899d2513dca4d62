"""Compiling the model for a training."""

from mmengine.hooks import Hook

from eclip_mm.models.compiled import compile_parts
from eclip_mm.registry import HOOKS
from eclip_mm.utils.dist import unwrap_model


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles encoders, decoder and heads for a training, see :func:`compile_parts`.

    A program that only evaluates or predicts needs no compiler. The validations of a compiled
    training run the compiled parts.

    Args:
        enabled: whether to compile. The base config has this hook with
            ``enabled=False``, so that ``--cfg-options
            default_hooks.compile.enabled=True`` is enough.
        fullgraph: whether a part that cannot be one graph is an error.
        options: arguments of ``torch.compile``, such as
            ``mode='max-autotune'``.
    """

    def __init__(self, enabled: bool = False, fullgraph: bool = True, **options):
        self.enabled = enabled
        self.options = dict(options, fullgraph=fullgraph)

    def before_train(self, runner) -> None:
        model = unwrap_model(runner.model)
        if self.enabled and not model.compiled:
            compile_parts(model, **self.options)
