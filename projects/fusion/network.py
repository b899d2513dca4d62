"""The towers, projections and the fusion of both behind them: what the momentum model copies."""

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.encoders.pooling import pool_text
from eclip_mm.models.instance_network import InstanceNetwork
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS
from projects.fusion.encoder import FusionEncoder
from projects.fusion.masked_modelling import MaskedModelling


class MatchingNetwork(InstanceNetwork):
    """Encoders, and a fusion in which words ask patches.

    The words of the text tower are the states of the fusion, and its layers
    map the width of the patch tokens. The patch tokens are normalised first:
    those of a convolutional tower have channels of any size.

    Args:
        image_encoder, text_encoder, embed_dims, queries, decoder, options: see
            :class:`InstanceNetwork`; there is no instance decoder.
        fusion: options of the :class:`FusionEncoder`, without its widths.
        masking: options of the :class:`MaskedModelling` of words; None if no
            words are hidden.

    Raises:
        ValueError: a text tower whose single words cannot be read.
    """

    def __init__(
        self,
        image_encoder: dict,
        text_encoder: dict,
        embed_dims: int,
        queries: dict | None,
        decoder: dict | None,
        fusion: dict,
        masking: dict | None = None,
        **options,
    ):
        super().__init__(image_encoder, text_encoder, embed_dims, None, None, **options)
        check_words(self.text_encoder)
        width = self.text_encoder.embed_dims
        self.fusion_options = dict(
            fusion, embed_dims=width, other_dims=self.image_encoder.embed_dims
        )
        self.fusion = MODELS.build({'type': FusionEncoder, **self.fusion_options})
        self.patch_norm = nn.LayerNorm(self.image_encoder.embed_dims)
        self.matching = nn.Linear(width, 2)
        self.masking = None
        if masking is not None:
            vocab_size = self.text_encoder.vocab_size
            self.masking = MODELS.build(
                dict(type=MaskedModelling, embed_dims=width, vocab_size=vocab_size) | masking
            )

    def encode_picture(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.

        Returns:
            L2-normalised g_I(v_cls) (B, D); states of the patches (B, N, C)
            for the fusion; patch grid (h, w).
        """
        class_token, patch_tokens, grid = self.image_encoder(images)
        feats = F.normalize(at_least_float32(self.image_proj(class_token)), dim=-1)
        return feats, self.patch_norm(patch_tokens), grid

    def pool_words(self, words: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, D) L2-normalised g_T(w_cls) of the (B, M, C) tokens of the text tower."""
        token = pool_text(words, attention_mask, self.text_encoder.pooling)
        return F.normalize(at_least_float32(self.text_proj(token)), dim=-1)

    def fuse(
        self, words: Tensor, mask: Tensor, patches: Tensor, maps: list[Tensor] | None = None
    ) -> Tensor:
        """(B, M, H) states of words that have read the patches.

        Args:
            words: (B, M, H) tokens of the text tower.
            mask: (B, M) bool.
            patches: (B, N, C) of :meth:`encode_picture`.
            maps: see :class:`FusionEncoder`.
        """
        return self.fusion(words, mask, patches, maps=maps)[0]

    def match(
        self, words: Tensor, mask: Tensor, patches: Tensor, maps: list[Tensor] | None = None
    ) -> Tensor:
        """(B, 2) logits of not belonging and of belonging together; see :meth:`fuse`."""
        return at_least_float32(self.matching(self.fuse(words, mask, patches, maps)[:, 0]))


def check_words(text_encoder: nn.Module) -> None:
    """Check that the words of a text can be read one by one.

    Raises:
        ValueError: padding is part of a text, or its feature is that of its last token.
    """
    padding = getattr(text_encoder, 'padding', 'longest')
    if padding != 'longest':
        raise ValueError(
            'the fusion reads the words of a text, without padding, but text_encoder.padding is '
            f"{padding!r}, which makes padding part of the text: set padding='longest' and "
            'use_mask=True, or take another text encoder'
        )
    if text_encoder.pooling not in ('cls', 'mean'):
        raise ValueError(
            'the fusion reads a text by its first token, but text_encoder.pooling is '
            f"{text_encoder.pooling!r}: take a text encoder with pooling='cls' or 'mean'"
        )
