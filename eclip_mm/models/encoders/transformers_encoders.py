"""Image and text encoders from ``transformers``, behind one small interface."""

import inspect
import math

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from eclip_mm.models.encoders.conv_stem import replace_conv_padding, replace_patch_projection
from eclip_mm.models.encoders.length_groups import encode_by_length
from eclip_mm.registry import MODELS

#: text models that may be given word vectors: their positions do not follow from token ids
TAKE_VECTORS = ('bert', 'distilbert', 'electra')


def build_transformers_model(
    model_type: str | None, config: dict | None, pretrained: str | None, allow_download: bool
) -> nn.Module:
    """A bare model of any ``transformers`` Auto class, without pooling layer.

    Args:
        model_type: architecture name (``vit``, ``bert``, ``dinov2``, ...);
            taken from ``pretrained`` where that is given.
        config: fields of the architecture's config; unknown ones are errors.
        pretrained: local directory, or name of a model in the local cache;
            ``None`` for random weights.
        allow_download: whether a name may be fetched from the hub.

    Raises:
        KeyError: a config field that the architecture does not have.
        OSError: the pretrained model is not on this machine.
    """
    fields = dict(config or {})
    if pretrained is None:
        if model_type is None:
            raise ValueError('give `model_type` (with `config`), or `pretrained`')
        base = AutoConfig.for_model(model_type)
    else:
        try:
            base = AutoConfig.from_pretrained(pretrained, local_files_only=not allow_download)
        except OSError as error:
            raise OSError(
                f'pretrained model {pretrained!r} is not on this machine. Fetch it once with\n'
                f'    hf download {pretrained} --local-dir checkpoints/{pretrained}\n'
                f"and set `pretrained='checkpoints/{pretrained}'`, or set "
                '`allow_download=True`, or `pretrained=None` to start from random weights.'
            ) from error
        if model_type is not None and base.model_type != model_type:
            raise ValueError(
                f'{pretrained!r} is a {base.model_type!r} model, but the config says '
                f'model_type={model_type!r}'
            )
    unknown = [key for key in fields if not hasattr(base, key)]
    if unknown:
        raise KeyError(
            f'{type(base).__name__} of model_type {base.model_type!r} has no field '
            f'{unknown}; check the spelling in `config`'
        )
    if pretrained is None:  # again, since some fields follow from others
        base = AutoConfig.for_model(model_type, **fields)
    else:
        for key, value in fields.items():
            setattr(base, key, value)

    kwargs = {}
    try:  # ViT and BERT build a pooling layer that nothing here uses
        with torch.device('meta'):
            AutoModel.from_config(base, add_pooling_layer=False)
        kwargs['add_pooling_layer'] = False
    except TypeError:
        pass
    if pretrained is None:
        return AutoModel.from_config(base, **kwargs)
    # float32 whatever the file holds: autocast decides what is computed in bf16
    return AutoModel.from_pretrained(
        pretrained, config=base, dtype=torch.float32, local_files_only=not allow_download, **kwargs
    )


class _TransformersEncoder(nn.Module):
    def __init__(
        self,
        model_type=None,
        config=None,
        pretrained=None,
        allow_download=False,
        gradient_checkpointing=False,
    ):
        super().__init__()
        self.model = build_transformers_model(model_type, config, pretrained, allow_download)
        if gradient_checkpointing:
            # BERT would warn that it keeps no cache, in the middle of a compiled graph
            self.model.config.use_cache = False
            self.model.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs=dict(use_reentrant=False)
            )

    def compile(self, **options):
        """Compile the model; what stands around it depends on the batch's content."""
        self.model.compile(**options)


@MODELS.register_module()
class TransformersImageEncoder(_TransformersEncoder):
    """Vision model of ``transformers``: v_cls and v_1..v_N of Section 3.1.

    Args:
        model_type, config, pretrained, allow_download: see
            :func:`build_transformers_model`.
        gradient_checkpointing: recompute activations in the backward pass.
        conv_stem: channels of 3x3 convolutions of stride 2 that take the place
            of a ViT's single patch projection, see :class:`ConvStem`; None
            keeps the projection.
        conv_padding: ``reflect`` or ``replicate`` instead of zeros for a
            convolutional encoder trained from scratch on small pictures: of 8 x
            8 tokens 28 lie at the border, and a frame of zeros is a feature
            that the score map falls for. None keeps the model's own.

    Attributes:
        embed_dims: width of class and patch tokens.
    """

    def __init__(
        self,
        model_type: str | None = 'vit',
        config: dict | None = None,
        pretrained: str | None = None,
        allow_download: bool = False,
        gradient_checkpointing: bool = False,
        conv_stem: tuple[int, ...] | None = None,
        conv_padding: str | None = None,
    ):
        super().__init__(model_type, config, pretrained, allow_download, gradient_checkpointing)
        cfg = self.model.config
        if conv_stem:
            replace_patch_projection(self.model, conv_stem)
        if conv_padding:
            replace_conv_padding(self.model, conv_padding)
        sizes = getattr(cfg, 'hidden_sizes', None)
        self.embed_dims = sizes[-1] if sizes else cfg.hidden_size
        for name, param in self.model.named_parameters():
            # of masked pretraining and of pooling: nothing here uses them, and
            # DDP waits for the gradient of every trained parameter
            if name.endswith('mask_token') or (sizes and name.startswith('layernorm.')):
                param.requires_grad_(False)
        patch_size = getattr(cfg, 'patch_size', None)
        self.patch_size = patch_size if isinstance(patch_size, int) else None
        self.interpolates = (
            'interpolate_pos_encoding' in inspect.signature(self.model.forward).parameters
        )

    def forward(
        self, images: Tensor, any_size: bool = False
    ) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.
            any_size: interpolate the position embeddings where the pictures
                have another size than the config says. DINOv2 always does; a
                ViT or CLIP refuses such pictures otherwise.

        Returns:
            class_token (B, C); patch_tokens (B, N, C), row by row; grid (h, w)
            with N = h * w. A model without class token (ConvNeXt, Swin) gives
            the mean of its patch tokens.
        """
        options = dict(interpolate_pos_encoding=True) if any_size and self.interpolates else {}
        tokens = self.model(pixel_values=images, **options).last_hidden_state
        if tokens.ndim == 4:  # convolutional: (B, C, h, w)
            grid = tuple(tokens.shape[-2:])
            patch_tokens = tokens.flatten(2).transpose(1, 2)
            return patch_tokens.mean(dim=1), patch_tokens, grid
        num_tokens = tokens.shape[1]
        grid = tuple(side // (self.patch_size or 1) for side in images.shape[-2:])
        num_prefix = num_tokens - grid[0] * grid[1]  # class token, registers
        if num_prefix < 0:  # pyramids such as Swin: the last stage, without prefix
            num_prefix, side = 0, math.isqrt(num_tokens)
            grid = (side, side)
            if side * side != num_tokens or images.shape[-2] != images.shape[-1]:
                raise ValueError(
                    f'{type(self.model).__name__} gave {num_tokens} tokens for '
                    f'pictures of {tuple(images.shape[-2:])}; only square pictures '
                    'work with this model'
                )
        patch_tokens = tokens[:, num_prefix:]
        class_token = tokens[:, 0] if num_prefix else patch_tokens.mean(dim=1)
        return class_token, patch_tokens, grid


@MODELS.register_module()
class TransformersTextEncoder(_TransformersEncoder):
    """Text model of ``transformers``: w_cls of Section 3.1.

    Args:
        model_type, config, pretrained, allow_download, gradient_checkpointing:
            as :class:`TransformersImageEncoder`.
        length_groups: :meth:`forward` sorts the texts of a batch by length and
            encodes as many groups of them, each cut to its longest text; 1 for
            the batch as it is padded.

    Attributes:
        embed_dims: width of the class token.
        vocab_size: token ids must be below it.
    """

    def __init__(
        self,
        model_type: str | None = 'bert',
        config: dict | None = None,
        pretrained: str | None = None,
        allow_download: bool = False,
        gradient_checkpointing: bool = False,
        length_groups: int = 4,
    ):
        if length_groups < 1:
            raise ValueError(f'length_groups must be at least 1, got {length_groups}')
        super().__init__(model_type, config, pretrained, allow_download, gradient_checkpointing)
        self.length_groups = length_groups
        self.embed_dims = self.model.config.hidden_size
        self.vocab_size = self.model.config.vocab_size

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """
        Args:
            input_ids: (B, M) int64, [CLS] first.
            attention_mask: (B, M), 1 for tokens and 0 for padding.

        Returns:
            (B, C) class token w_cls.
        """
        words = None
        if self.length_groups > 1 and self.model.config.model_type in TAKE_VECTORS:
            words = self.model.get_input_embeddings()
        return encode_by_length(
            lambda *text: self.encode_tokens(*text)[:, 0],
            input_ids,
            attention_mask,
            self.length_groups,
            words,
        )

    def encode_tokens(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, M, C) every token, w_cls first; what stands at padding means nothing.

        Args:
            tokens: (B, M) ids, or (B, M, C) their word vectors.
            attention_mask: (B, M).
        """
        name = 'inputs_embeds' if tokens.is_floating_point() else 'input_ids'
        return self.model(**{name: tokens}, attention_mask=attention_mask).last_hidden_state
