"""Encoders, projections, queries and decoder: the part that the momentum model copies."""

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.distractors import with_distractors
from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS


class InstanceNetwork(nn.Module):
    """The network of Figure 2 without its objectives.

    Args:
        image_encoder, text_encoder: configs of the encoders.
        embed_dims: joint width D.
        queries, decoder: configs; None for a model without instance decoder
            (CLIP).
    """

    def __init__(
        self,
        image_encoder: dict,
        text_encoder: dict,
        embed_dims: int,
        queries: dict | None,
        decoder: dict | None,
    ):
        super().__init__()
        self.embed_dims = embed_dims
        self.image_encoder = MODELS.build(image_encoder)
        self.text_encoder = MODELS.build(text_encoder)
        self.image_proj = nn.Linear(self.image_encoder.embed_dims, embed_dims)  # g_I
        self.text_proj = nn.Linear(self.text_encoder.embed_dims, embed_dims)  # g_T
        self.queries = self.decoder = None
        if queries:
            self.queries = MODELS.build(with_embed_dims(queries, embed_dims, 'queries'))
        if decoder:
            self.decoder = MODELS.build(with_embed_dims(decoder, embed_dims, 'decoder'))

    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.

        Returns:
            L2-normalised g_I(v_cls) (B, D); patch tokens in the joint space
            Z = g_I(v_i) (B, N, D); patch grid (h, w).
        """
        class_token, patch_tokens, grid = self.image_encoder(images)
        feats = F.normalize(at_least_float32(self.image_proj(class_token)), dim=-1)
        return feats, self.image_proj(patch_tokens), grid

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
