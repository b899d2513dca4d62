"""Bare models of ``transformers``, and the interface that both encoders share."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import transformers
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig

from eclip_mm.checkpoint.adapters import fit_adapters
from eclip_mm.checkpoint.names import rename_weights
from eclip_mm.models.encoders.families import DUAL_FAMILIES, refuse
from eclip_mm.models.encoders.layer_groups import LayerGroup, count_frozen, layer_groups
from eclip_mm.models.encoders.loading import load_tower
from eclip_mm.models.encoders.lora import is_adapter, unadapted_parts
from eclip_mm.models.encoders.picture_size import use_whole_patches

#: models that transformers builds by their own class only
CLASSES = {
    'chinese_clip_text_model': 'ChineseCLIPTextModel',
    'metaclip_2_text_model': 'MetaClip2TextModel',
    'metaclip_2_vision_model': 'MetaClip2VisionModel',
    'siglip_text_model': 'SiglipTextModel',
}


def build_transformers_model(
    model_type: str | None,
    config: Mapping | None,
    pretrained: str | None,
    allow_download: bool,
    tower: str | None = None,
) -> nn.Module:
    """A bare model of ``transformers``, without pooling layer.

    Args:
        model_type: architecture name (``vit``, ``bert``, ``dinov2``, ...);
            taken from ``pretrained`` where that is given.
        config: fields of the architecture's config; unknown ones are errors.
        pretrained: local directory, or name of a model in the local cache;
            ``None`` for random weights.
        allow_download: whether a name may be fetched from the hub.
        tower: ``vision`` or ``text``: what to take of a dual encoder; None for
            all of it.

    Raises:
        KeyError: a config field that the architecture does not have.
        OSError: the pretrained model is not on this machine.
        ValueError: ``pretrained`` is of another type, or of one that cannot
            be used here, or its weights do not fit ``config``.
    """
    base = _base_config(model_type, pretrained, allow_download)
    refuse(base.model_type)
    whole = base
    if tower and base.model_type in DUAL_FAMILIES:
        base = getattr(whole, f'{tower}_config')
    if model_type not in (None, base.model_type, whole.model_type):
        raise ValueError(
            f'{pretrained!r} is a {whole.model_type!r} model, but the config says '
            f'model_type={model_type!r}'
        )
    _check_sense(base, tower)
    fields = dict(config or {})
    unknown = [key for key in fields if not hasattr(base, key)]
    if unknown:
        raise KeyError(
            f'{type(base).__name__} of model_type {base.model_type!r} has no field '
            f'{unknown}; check the spelling in `config`'
        )
    if pretrained is None:
        # built again, since some fields follow from others
        base = _new_config(base.model_type, **fields)
        kind = _model_class(base)
        return kind._from_config(base, **_without_pooler(kind))
    changed = {key: (getattr(base, key), value) for key, value in fields.items()}
    changed = {key: pair for key, pair in changed.items() if pair[0] != pair[1]}
    for key, value in fields.items():
        setattr(base, key, value)
    if 'image_size' not in fields:
        use_whole_patches(getattr(base, 'vision_config', base), pretrained)
    kind = _model_class(whole)
    kwargs = dict(_without_pooler(kind), config=whole, local_files_only=not allow_download)
    model = load_tower(kind, pretrained, changed, **kwargs)
    model.float()  # whatever the file holds: autocast decides what is computed in bf16
    return model if base is whole else getattr(model, f'{tower}_model')


def _base_config(model_type: str | None, pretrained: str | None, allow_download: bool):
    if pretrained is None:
        if model_type is None:
            raise ValueError('give `model_type` (with `config`), or `pretrained`')
        return _new_config(model_type)
    try:
        return AutoConfig.from_pretrained(pretrained, local_files_only=not allow_download)
    except (OSError, ValueError) as error:
        if Path(pretrained).exists():
            raise OSError(
                f'pretrained={pretrained!r} is no model of transformers, which is a folder with '
                f'config.json and weights, as `save_pretrained` or `hf download` leave it: {error}'
            ) from error
        raise OSError(
            f'pretrained model {pretrained!r} is not on this machine. Fetch it once with\n'
            f'    hf download {pretrained} --local-dir checkpoints/{pretrained}\n'
            f"and set `pretrained='checkpoints/{pretrained}'`, or set "
            '`allow_download=True`, or `pretrained=None` to start from random weights.'
        ) from error


def _check_sense(config, tower: str | None) -> None:
    """Check that a tower for pictures is no text model, and the other way round."""
    reads = hasattr(config, 'vocab_size'), hasattr(config, 'num_channels')
    if tower == 'text' and not reads[0] or tower == 'vision' and reads == (True, False):
        name = dict(text='text_encoder', vision='image_encoder')[tower]
        other = dict(text='no text model: it has no vocabulary', vision='a text model')[tower]
        raise ValueError(f'{name}: model_type {config.model_type!r} is {other}')


def _new_config(model_type: str, **fields):
    name = CLASSES.get(model_type)
    if name is None:
        return AutoConfig.for_model(model_type, **fields)
    return getattr(transformers, f'{name.removesuffix("Model")}Config')(**fields)


def _model_class(config) -> type[nn.Module]:
    name = CLASSES.get(config.model_type)
    return MODEL_MAPPING[type(config)] if name is None else getattr(transformers, name)


def _without_pooler(kind: type[nn.Module]) -> dict:
    """ViT and BERT build a pooling layer that nothing here uses."""
    has_pooler = 'add_pooling_layer' in inspect.signature(kind).parameters
    return dict(add_pooling_layer=False) if has_pooler else {}


class TransformersEncoder(nn.Module):
    """What image and text encoder have in common.

    Args:
        model: a bare model of ``transformers``.
        gradient_checkpointing: recompute activations in the backward pass.

    Attributes:
        lora_scaling: alpha / r of the adapters; None without adapters.
        num_frozen: layer groups from the input on that are not trained.
    """

    def __init__(self, model: nn.Module, gradient_checkpointing: bool):
        super().__init__()
        self.model = model
        self.num_frozen = 0
        self._never_trained: set[str] | None = None
        self.register_buffer('lora_scaling', None)
        if gradient_checkpointing:
            # otherwise BERT warns, in the middle of a compiled graph, that it keeps no cache
            self.model.config.use_cache = False
            self.model.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs=dict(use_reentrant=False)
            )

    def compile(self, **options):
        """Compile the model; what stands around it depends on the batch's content."""
        self.model.compile(**options)

    def layer_groups(self) -> list[LayerGroup]:
        """The parts of the model in order, see :func:`layer_groups`."""
        return layer_groups(self.model)

    def freeze(self, groups: int | str, name: str = 'freeze') -> None:
        """Stop training the first layer groups: no gradient, and eval mode even in training.

        Every group is set explicitly, so that a second call changes nothing.

        Args:
            groups: how many from the input on; a negative number counts those
                that are trained; ``all``.
            name: of the option, for messages.

        Raises:
            ValueError: there are not as many.
        """
        if self._never_trained is None:  # what the pooling does not use
            named = self.model.named_parameters()
            self._never_trained = {n for n, param in named if not param.requires_grad}
        layers = self.layer_groups()
        self.num_frozen = count_frozen(layers, groups, name)
        names = {id(param): n for n, param in self.model.named_parameters()}
        for number, group in enumerate(layers):
            for param in group.parameters():
                is_used = names[id(param)] not in self._never_trained
                param.requires_grad_(number >= self.num_frozen and is_used)
        self.train(self.training)

    def keep_base(self) -> None:
        """Train nothing but adapters, which have just been added, from now on."""
        named = self.model.named_parameters()
        self._never_trained = {name for name, _ in named if not is_adapter(name)}
        self.freeze(self.num_frozen)

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """Modules and parameters that training leaves as they are."""
        if self.num_frozen == 0:
            return []
        groups = self.layer_groups()
        if self.num_frozen == len(groups):
            return [self.model]
        parts = [[*group.modules, *group.loose] for group in groups[: self.num_frozen]]
        if self.lora_scaling is not None:
            parts.append(unadapted_parts(groups[self.num_frozen :]))
        return sum(parts, [])

    def train(self, mode: bool = True):
        """Frozen parts neither drop anything out nor change the statistics of batch norms."""
        super().train(mode)
        for part in self.frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def find_part(self, name: str | None) -> str | None:
        """Full name of a part of the model; of several the one that is nested least.

        Versions of ``transformers`` differ in what stands around it.
        """
        names = [n for n, _ in self.model.named_modules() if name and n.split('.')[-1] == name]
        return min(names, key=lambda n: n.count('.'), default=None)

    def rename_weights(self, state_dict: dict, prefix: str = '') -> None:
        """Rename weights that another version of ``transformers`` has written, in place.

        Adapters are fitted as well, see :func:`fit_adapters`.

        Args:
            state_dict: weights with the names of this module behind ``prefix``.
        """
        fit_adapters(state_dict, self, prefix)
        rename_weights(state_dict, self.model, f'{prefix}model.')

    def _load_from_state_dict(self, state_dict, prefix, *args):
        self.rename_weights(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
