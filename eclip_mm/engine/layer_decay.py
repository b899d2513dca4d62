"""Layer-wise learning rate decay for a pretrained image encoder."""

import json
from collections import Counter

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn

from eclip_mm.engine.optim import PretrainOptimWrapperConstructor
from eclip_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from eclip_mm.utils.dist import unwrap_model


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(PretrainOptimWrapperConstructor):
    """Multiplies the learning rate of layer k of K by ``decay_rate ** (K - k)``.

    The embeddings are layer 0. The last layer, and the parameters that follow it, have
    the whole rate. Layers are the encoder's own ``layer_groups``, which freezing uses as
    well. Weight decay is that of the base class.

    Args:
        optim_wrapper_cfg: ``optimizer`` and settings of the wrapper.
        paramwise_cfg: has these keys, all optional:

            - ``decay_rate``: in (0, 1]; 1, the default, is no decay.
            - ``encoder``: prefix of the encoder's parameters, by default ``backbone.``.
            - ``lr_mults``: prefix -> factor of the learning rate of all parameters
              with this prefix, including those of the encoder. If several prefixes
              fit, the longest one counts.
            - ``no_decay``: as in the base class.

    Raises:
        KeyError: ``paramwise_cfg`` has an unknown key.
        ValueError: ``decay_rate`` is outside (0, 1].
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        extra = dict(paramwise_cfg or {})
        self.decay_rate = extra.pop('decay_rate', 1.0)
        self.encoder = extra.pop('encoder', 'backbone.')
        self.lr_mults = dict(extra.pop('lr_mults', {}))
        unknown = set(extra) - {'no_decay'}
        if unknown:
            raise KeyError(
                f'paramwise_cfg has unknown keys {sorted(unknown)}; known: decay_rate, encoder, '
                'lr_mults, no_decay'
            )
        if not 0 < self.decay_rate <= 1:
            raise ValueError(f'paramwise_cfg.decay_rate must be in (0, 1], not {self.decay_rate}')
        super().__init__(optim_wrapper_cfg, extra)

    def lr_scales(self, model: nn.Module) -> dict[str, float]:
        """Name of each trained parameter -> factor of its learning rate.

        Raises:
            KeyError: no trained parameter begins with ``encoder`` or a key of ``lr_mults``.
        """
        names = [name for name, param in model.named_parameters() if param.requires_grad]
        for prefix in [*self.lr_mults, *([self.encoder] if self.decay_rate < 1 else [])]:
            if not any(name.startswith(prefix) for name in names):
                raise KeyError(
                    f'paramwise_cfg: no trained parameter begins with {prefix!r}; they begin '
                    f'with {sorted({name.split(".")[0] for name in names})}'
                )
        depths = self._depths(model) if self.decay_rate < 1 else {}
        params = dict(model.named_parameters())
        scales = {}
        for name in names:
            prefixes = [prefix for prefix in self.lr_mults if name.startswith(prefix)]
            scales[name] = self.lr_mults[max(prefixes, key=len)] if prefixes else 1.0
            scales[name] *= self.decay_rate ** depths.get(id(params[name]), 0)
        return scales

    def _depths(self, model: nn.Module) -> dict[int, int]:
        """``id`` of each parameter of the encoder -> number of layers above it.

        Raises:
            KeyError: no module under ``encoder`` has ``layer_groups``.
        """
        towers = [
            module
            for name, module in model.named_modules()
            if f'{name}.'.startswith(self.encoder) and hasattr(module, 'layer_groups')
        ]
        if not towers:
            raise KeyError(
                f'paramwise_cfg.encoder={self.encoder!r} has no encoder with `layer_groups`, '
                'which decay_rate counts; the encoders of eclip_mm.models have it'
            )
        depths = {}
        for tower in towers:
            groups = tower.layer_groups()
            num_layers = sum(group.name.startswith('layer') for group in groups)
            for number, group in enumerate(groups):
                depth = max(0, num_layers - number)
                depths.update((id(param), depth) for param in group.parameters())
        return depths

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = unwrap_model(model)
        params = dict(model.named_parameters())
        scales = self.lr_scales(model)
        cfg = dict(self.cfg)
        cfg.setdefault('type', 'OptimWrapper')
        optimizer = dict(cfg.pop('optimizer'))
        groups: dict[tuple, list[str]] = {}
        for decays, names in zip((True, False), self.split(model), strict=True):
            for name in names:
                groups.setdefault((scales[name], decays), []).append(name)
        optimizer['params'] = [
            dict(
                params=[params[name] for name in names],
                lr=optimizer['lr'] * scale,
                **({} if decays else dict(weight_decay=0.0)),
            )
            for (scale, decays), names in sorted(groups.items(), reverse=True)
        ]
        shown = dict(sorted(Counter(f'{s:.3g}' for s in scales.values()).items()))
        print_log(
            f'number of tensors by learning rate factor: {json.dumps(shown)}', logger='current'
        )
        return OPTIM_WRAPPERS.build(cfg, default_args=dict(optimizer=OPTIMIZERS.build(optimizer)))
