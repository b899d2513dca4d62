"""A dual encoder of ``transformers`` (CLIP, SigLIP, ...), taken whole as a network's start."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from eclip_mm.models.encoders.building import build_transformers_model
from eclip_mm.models.encoders.families import DUAL_FAMILIES


@dataclass
class DualEncoder:
    """The parts of a dual encoder, with its weights.

    Attributes:
        source: what it was read from, for messages.
        towers: ``image_encoder`` and ``text_encoder``.
        projections: g_I and g_T; ``nn.Identity`` where the tower itself gives
            the joint space.
        embed_dims: width of the joint space.
        logit_scale: 1 / tau, not its log.
        logit_bias: added to the logits; None for a family without one.
        pretrained, allow_download: where its other files are.
    """

    source: str
    towers: dict[str, nn.Module]
    projections: tuple[nn.Module, nn.Module]
    embed_dims: int
    logit_scale: float
    logit_bias: float | None
    pretrained: str | None = None
    allow_download: bool = False

    def check(self, embed_dims: int, projections: dict | None) -> None:
        """Check that the config of a model does not contradict this dual encoder.

        Raises:
            ValueError: it does.
        """
        if embed_dims != self.embed_dims:
            raise ValueError(
                f'pretrained_dual={self.source!r} has a joint space of {self.embed_dims} '
                f'dimensions, but embed_dims is {embed_dims}: set embed_dims={self.embed_dims}'
            )
        if projections:
            raise ValueError(
                f'projections={dict(projections)} and pretrained_dual={self.source!r}, which '
                'brings its own: leave projections out'
            )

    def tower_config(self, config: dict, name: str) -> dict:
        """The config of an encoder that takes its tower from here.

        Args:
            config: of the encoder, with options only.
            name: ``image_encoder`` or ``text_encoder``.

        Raises:
            ValueError: ``config`` names a model of its own.
        """
        named = [k for k in ('model_type', 'config', 'pretrained') if config.get(k) is not None]
        if named:
            raise ValueError(
                f'{name}.{named[0]} and pretrained_dual={self.source!r} both name a tower. Leave '
                f'{", ".join(named)} out of {name}: in a child config, '
                f'{name}=dict(_delete_=True, type={config["type"]!r})'
            )
        config = dict(config, model=self.towers[name])
        for key in ('pretrained', 'allow_download'):  # its processor and tokenizer files
            config[key] = getattr(self, key)
        return config


def load_dual(dual: str | Mapping) -> DualEncoder:
    """Read or build a dual encoder.

    Args:
        dual: folder, or name in the local cache; or a dict with
            ``model_type`` and ``config`` for random weights, or with
            ``pretrained`` and ``allow_download``.

    Raises:
        KeyError: a key that is not known.
        ValueError: no dual encoder of a known family.
    """
    options = dict(pretrained=dual) if isinstance(dual, str) else dict(dual)
    known = dict(model_type=None, config=None, pretrained=None, allow_download=False)
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise KeyError(f'pretrained_dual has unknown keys {unknown}; known: {", ".join(known)}')
    options = known | options
    if options['pretrained'] and options['config']:
        raise ValueError(
            'pretrained_dual: `config` is for random weights, beside `pretrained` it '
            'has no effect; leave one of them out'
        )
    model = build_transformers_model(**options)
    rule = DUAL_FAMILIES.get(model.config.model_type)
    source = options['pretrained'] or f'a random {model.config.model_type!r}'
    if rule is None:
        raise ValueError(
            f'pretrained_dual={source!r} is a {model.config.model_type!r} model, and no dual '
            f'encoder of {", ".join(DUAL_FAMILIES)}; name a single tower in image_encoder or '
            'text_encoder'
        )
    image_proj = model.get_submodule(rule.image_proj) if rule.image_proj else nn.Identity()
    text_proj = model.get_submodule(rule.text_proj)
    bias = getattr(model, 'logit_bias', None)
    return DualEncoder(
        source=str(source),
        towers=dict(image_encoder=model.vision_model, text_encoder=model.text_model),
        projections=(image_proj, text_proj),
        embed_dims=text_proj.out_features,
        logit_scale=model.logit_scale.detach().double().exp().item(),
        logit_bias=None if bias is None else bias.item(),
        pretrained=options['pretrained'],
        allow_download=options['allow_download'],
    )
