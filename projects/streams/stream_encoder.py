"""A text stream and an image stream, co-attention between them, and joint layers over both."""

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.registry import MODELS
from projects.fusion.encoder import FusionEncoder
from projects.fusion.layers import FusionLayer
from projects.streams.outputs import StreamStates
from projects.streams.regions import Regions


@MODELS.register_module()
class StreamEncoder(nn.Module):
    """From the encoders' tokens to the states of words and regions.

    ::

        words -> text stream \\                 / words
                              co-attention -> joint layers
        regions -> image stream /               \\ regions

    Every part may have no layers.

    Args:
        embed_dims: width H of the states.
        word_dims: width of the text encoder's tokens.
        region_dims: width of the regions' features.
        text_layers, image_layers: of each stream alone.
        co_layers: of co-attention, in which each stream also asks the other.
        joint_layers: over words and regions together.
        num_heads: of all attentions.
        ffn_ratio: width of the FFN divided by H.
        dropout: of attention and FFN.
    """

    def __init__(
        self,
        embed_dims: int,
        word_dims: int,
        region_dims: int,
        text_layers: int = 0,
        image_layers: int = 0,
        co_layers: int = 0,
        joint_layers: int = 0,
        num_heads: int = 4,
        ffn_ratio: float = 4,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.embed_dims = embed_dims
        self.word_embed = nn.Linear(word_dims, embed_dims)
        self.region_embed = nn.Linear(region_dims, embed_dims)
        self.place_embed = nn.Linear(5, embed_dims)
        self.word_norm, self.region_norm = nn.LayerNorm(embed_dims), nn.LayerNorm(embed_dims)

        ffn_dims = round(ffn_ratio * embed_dims)
        options = dict(
            embed_dims=embed_dims, num_heads=num_heads, ffn_dims=ffn_dims, dropout=dropout
        )
        self.text_stream, self.image_stream = (
            nn.ModuleList(FusionLayer(has_cross=False, **options) for _ in range(count))
            for count in (text_layers, image_layers)
        )
        self.co_attention = FusionEncoder(co_layers, wiring='co', **options)
        self.joint = FusionEncoder(joint_layers, wiring='single', **options)

    def read_words(self, words: Tensor, mask: Tensor) -> Tensor:
        """(B, M, H) states of the text stream.

        Args:
            words: (B, M, word_dims) tokens of the text encoder.
            mask: (B, M) bool, False at padding.
        """
        words = self.word_norm(self.word_embed(F.layer_norm(words, words.shape[-1:])))
        for layer in self.text_stream:
            words = layer(words, mask)
        return words

    def read_regions(self, regions: Regions) -> Tensor:
        """(B, 1 + K, H) states of the image stream; a hidden region has a feature of zeros."""
        feats = region_content(regions.feats)
        states = self.region_embed(feats) + self.place_embed(regions.places.to(feats.dtype))
        states = self.region_norm(states)
        for layer in self.image_stream:
            states = layer(states, regions.mask)
        return states

    def forward(
        self, words: Tensor, mask: Tensor, regions: Regions, maps: list[Tensor] | None = None
    ) -> StreamStates:
        """
        Args:
            words: (B, M, word_dims) tokens of the text encoder.
            mask: (B, M) bool, False at padding.
            regions: of B pictures.
            maps: receives the attention of each layer in which both meet, see
                :class:`FusionEncoder`: of words to regions in co-attention,
                of all to all in joint layers, words first.
        """
        own_words, own_regions = self.read_words(words, mask), self.read_regions(regions)
        return self.meet(own_words, own_regions, mask, regions.mask, maps)

    def meet(
        self,
        own_words: Tensor,
        own_regions: Tensor,
        mask: Tensor,
        region_mask: Tensor,
        maps: list[Tensor] | None = None,
    ) -> StreamStates:
        """Co-attention and joint layers on the states of both streams; arguments as above."""
        states = self.co_attention(own_words, mask, own_regions, region_mask, maps)
        states = self.joint(states[0], mask, states[1], region_mask, maps)
        return StreamStates(*states, own_words, own_regions, mask, region_mask)


def region_content(feats: Tensor) -> Tensor:
    """(..., C) what the streams see of a region, which is also what is predicted of a hidden one.

    The channels of a convolutional tower differ in size by orders of magnitude.
    """
    return F.layer_norm(feats, feats.shape[-1:])
