"""Encoders, projections, queries and decoder: the part that the momentum model copies."""

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.distractors import with_distractors
from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.models.encoders.dual import load_dual
from eclip_mm.models.encoders.lora import add_lora
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.projections import PatchProjection, build_projection, projection_kind
from eclip_mm.registry import MODELS


class InstanceNetwork(nn.Module):
    """The network of Figure 2 without its objectives.

    Args:
        image_encoder, text_encoder: configs of the encoders.
        embed_dims: joint width D.
        queries, decoder: configs; None for a model without instance decoder
            (CLIP).
        pretrained_dual: a dual encoder to start from, see :func:`load_dual`:
            both towers with their projections, logit scale and bias. The
            configs of the encoders then hold options only.
        projections: ``image`` and ``text``, the kinds of g_I and g_T, see
            :func:`build_projection`. Both are linear with a bias by default;
            ``pretrained_dual`` brings its own.
        patch_projection: what maps patch tokens, see :class:`PatchProjection`.
        freeze: ``image`` and ``text``: how many layer groups of the tower are
            frozen, counted from the input (embeddings, layer 0, ...); a
            negative number says how many are trained; ``all`` freezes the
            tower. Frozen parts stay in eval mode, and the momentum model
            shares them.
        lora: ``image`` and ``text``: options of the adapters of a tower, see
            :func:`add_lora`. They are trained instead of the tower's own
            weights, in the layers that ``freeze`` leaves.

    Attributes:
        preprocessing: that of the image encoder; None where it is not known.
        init_logit_scale: 1 / tau to start with.
        init_logit_bias: that of ``pretrained_dual``; None without one.
    """

    def __init__(
        self,
        image_encoder: dict,
        text_encoder: dict,
        embed_dims: int,
        queries: dict | None,
        decoder: dict | None,
        pretrained_dual: str | dict | None = None,
        projections: dict | None = None,
        patch_projection: str | None = None,
        freeze: dict | None = None,
        lora: dict | None = None,
    ):
        super().__init__()
        self.embed_dims = embed_dims
        dual = None
        if pretrained_dual is not None:
            dual = load_dual(pretrained_dual)
            dual.check(embed_dims, projections)
            image_encoder = dual.tower_config(image_encoder, 'image_encoder')
            text_encoder = dual.tower_config(text_encoder, 'text_encoder')
        self.image_encoder = MODELS.build(image_encoder)
        self.text_encoder = MODELS.build(text_encoder)
        self.image_proj, self.text_proj = dual.projections if dual else self._build(projections)
        if freeze:
            self.freeze(**freeze)
        if lora:
            self._adapt(**lora)
        self.patch_proj = PatchProjection(
            patch_projection,
            self.image_encoder,
            self.image_proj,
            embed_dims,
            is_trained=decoder is not None,
        )
        self.preprocessing = getattr(self.image_encoder, 'preprocessing', None)
        self.init_logit_scale = dual.logit_scale if dual else 1 / 0.07
        self.init_logit_bias = dual.logit_bias if dual else None
        self.queries = self.decoder = None
        if queries:
            self.queries = MODELS.build(with_embed_dims(queries, embed_dims, 'queries'))
        if decoder:
            self.decoder = MODELS.build(with_embed_dims(decoder, embed_dims, 'decoder'))

    def freeze(self, image: int | str | None = None, text: int | str | None = None) -> None:
        """Freeze layer groups of the towers, see the class; before a momentum model is made."""
        for name, groups in (('image', image), ('text', text)):
            if groups is not None:
                getattr(self, f'{name}_encoder').freeze(groups, f'freeze.{name}')

    def _adapt(self, image: dict | None = None, text: dict | None = None) -> None:
        """Add adapters to the towers, see the class."""
        for name, options in (('image', image), ('text', text)):
            if options is not None:
                add_lora(getattr(self, f'{name}_encoder'), f'lora.{name}', options)

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """What a momentum model shares instead of copying it."""
        towers = (self.image_encoder, self.text_encoder)
        return sum(
            (tower.frozen_parts() for tower in towers if hasattr(tower, 'frozen_parts')), []
        )

    def _build(self, projections: dict | None) -> list[nn.Module]:
        """g_I and g_T with random weights."""
        kinds = dict(image='linear', text='linear') | dict(projections or {})
        widths = dict(image=self.image_encoder.embed_dims, text=self.text_encoder.embed_dims)
        unknown = sorted(kinds.keys() - widths.keys())
        if unknown:
            raise KeyError(f'projections has unknown keys {unknown}; known: {", ".join(widths)}')
        return [build_projection(kinds[k], k, widths[k], self.embed_dims) for k in widths]

    def options(self) -> dict:
        """Config options that stand for ``pretrained_dual`` once there are trained weights."""
        return dict(
            projections=dict(
                image=projection_kind(self.image_proj), text=projection_kind(self.text_proj)
            ),
            patch_projection=self.patch_proj.kind,
        )

    def encode_image(
        self, images: Tensor, any_size: bool = False
    ) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.
            any_size: take pictures of another size than the image encoder's, whose position
                embeddings are interpolated then.

        Returns:
            L2-normalised g_I(v_cls) (B, D); patch tokens in the joint space Z
            (B, N, D), see :class:`PatchProjection`; patch grid (h, w).
        """
        class_token, patch_tokens, grid = self.image_encoder(
            images, **(dict(any_size=True) if any_size else {})
        )
        feats = F.normalize(at_least_float32(self.image_proj(class_token)), dim=-1)
        return feats, self.patch_proj(patch_tokens, self.image_encoder, self.image_proj), grid

    def encode_image_feats(self, images: Tensor) -> Tensor:
        """(B, D) L2-normalised g_I(v_cls) of (B, 3, H, W) pictures."""
        return self.encode_image(images)[0]

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """
        Args:
            input_ids, attention_mask: (B, M).

        Returns:
            L2-normalised g_T(w_cls) (B, D).
        """
        class_token = self.text_encoder(input_ids, attention_mask)
        return F.normalize(at_least_float32(self.text_proj(class_token)), dim=-1)

    def decode(
        self, patch_tokens: Tensor, prompts: Tensor, modality: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            patch_tokens: Z (B, N, D).
            prompts: (B, T, D) scaled prompts.
            modality: (B, T) int64, text or image.

        Returns:
            H^L (B, T, D) and the L assignments (B, N, T).
        """
        return self.decoder(patch_tokens, self.queries(prompts, modality))

    def encode_and_decode(
        self, images: Tensor, prompts: Tensor, modality: Tensor, num_distractors: int = 0
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Represent the instances that the prompts ask for.

        Args:
            images: (B, 3, H, W) normalised pictures.
            prompts: (B, T, D) scaled prompts.
            modality: (B, T) int64, text or image.
            num_distractors: other pictures whose tokens the decoder gets as
                well, see :func:`with_distractors`.

        Returns:
            L2-normalised g_I(v_cls) (B, D); H^L (B, T, D); the L assignments
            (B, N, T).
        """
        image_feats, patch_tokens, _ = self.encode_image(images)
        patch_tokens = with_distractors(patch_tokens, num_distractors)
        return image_feats, *self.decode(patch_tokens, prompts, modality)
