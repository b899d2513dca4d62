"""FILIP: fine-grained interactive language-image pretraining (Yao et al., ICLR 2022)."""

import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.eclip import ECLIP
from eclip_mm.models.instance_network import InstanceNetwork
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.product_ids import hash_product_ids
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample
from projects.filip.filip_head import FILIPOutputs
from projects.filip.token_similarity import mean_token


class FILIPNetwork(InstanceNetwork):
    """Encoders and projections, with features made of tokens.

    A feature is the mean of the normalised tokens. The product of two features
    is therefore the mean similarity of all pairs of their tokens, up to the
    lengths of the means. Of all single vectors this is the closest to what
    FILIP trains.
    """

    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.

        Returns:
            L2-normalised mean of the patch tokens (B, D); L2-normalised patch
            tokens (B, N, D); patch grid (h, w).
        """
        _, patch_tokens, grid = self.image_encoder(images)
        patch_tokens = F.normalize(at_least_float32(self.image_proj(patch_tokens)), dim=-1)
        return mean_token(patch_tokens), patch_tokens, grid

    def encode_text_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, M, D) L2-normalised tokens of (B, M) texts, those of padding included."""
        tokens = self.text_encoder.encode_tokens(input_ids, attention_mask)
        return F.normalize(at_least_float32(self.text_proj(tokens)), dim=-1)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, D) L2-normalised mean of the text's tokens."""
        return mean_token(self.encode_text_tokens(input_ids, attention_mask), attention_mask)


@MODELS.register_module()
class FILIP(ECLIP):
    """The towers of :class:`ECLIP` with FILIP's objective; the arguments are ECLIP's.

    ``predict`` is inherited. Its score map is the similarity of each patch to
    the mean of the prompt's tokens.

    Raises:
        ValueError: a pretext task needs the instance decoder, or an option of
            the towers does not fit features that are made of tokens.
    """

    network_type = FILIPNetwork

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self.with_decoder:
            tasks = [name for name, head in self.heads.items() if head.needs_decoder]
            raise ValueError(
                f'FILIP has no instance decoder, which pretext_heads {tasks} need; '
                'set them to None'
            )
        padding = getattr(self.network.text_encoder, 'padding', 'longest')
        if padding != 'longest':
            raise ValueError(
                'FILIP compares the words of a text, without padding, but text_encoder.padding '
                f"is {padding!r}, which makes padding part of the text: set padding='longest' and "
                'use_mask=True, or take another text encoder'
            )
        patch_projection = kwargs.get('patch_projection')
        if patch_projection not in (None, 'shared'):
            raise ValueError(
                f'FILIP projects patch tokens with g_I, but patch_projection is '
                f"{patch_projection!r}: set patch_projection='shared' or leave it out"
            )
        if hasattr(self.network.image_encoder, 'freeze_head'):
            self.network.image_encoder.freeze_head()  # only patch tokens are used

    def extract(self, inputs: dict, data_samples: list[ProductDataSample]) -> FILIPOutputs:
        """Tokens and their means for one training batch."""
        image_feats, patch_tokens = self.in_chunks(
            lambda images: self.network.encode_image(images)[:2], inputs['images'][:, 0]
        )
        text_tokens = self.in_chunks(
            self.network.encode_text_tokens, inputs['input_ids'], inputs['attention_mask']
        )
        text_mask = inputs['attention_mask'].bool()
        return FILIPOutputs(
            image_feats,
            mean_token(text_tokens, text_mask),
            id_hash=hash_product_ids([s.product_id for s in data_samples]).to(image_feats.device),
            logit_scale=self.logit_scale.exp(),
            patch_tokens=patch_tokens,
            text_tokens=text_tokens,
            text_mask=text_mask,
        )
