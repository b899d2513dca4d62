"""A text stream and an image stream, co-attention between them, and joint layers over both."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.registry import MODELS
from projects.streams.layers import Layer
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

        def layers(count: int, attends: str) -> nn.ModuleList:
            ffn_dims = round(ffn_ratio * embed_dims)
            return nn.ModuleList(
                Layer(embed_dims, num_heads, ffn_dims, dropout, attends) for _ in range(count)
            )

        self.text_stream = layers(text_layers, 'self')
        self.image_stream = layers(image_layers, 'self')
        self.words_ask = layers(co_layers, 'both')
        self.regions_ask = layers(co_layers, 'both')
        self.joint = layers(joint_layers, 'self')

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

    def read_regions(self, regions: Regions, hidden: Tensor | None = None) -> Tensor:
        """(B, 1 + K, H) states of the image stream.

        Args:
            regions: of B pictures.
            hidden: (B, 1 + K) bool, regions whose features are replaced by
                zeros; their places are shown.
        """
        feats = region_content(regions.feats)
        if hidden is not None:
            feats = feats.masked_fill(hidden[..., None], 0)
        states = self.region_embed(feats) + self.place_embed(regions.places.to(feats.dtype))
        states = self.region_norm(states)
        for layer in self.image_stream:
            states = layer(states, regions.mask)
        return states

    def forward(
        self,
        words: Tensor,
        mask: Tensor,
        regions: Regions,
        hidden: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> StreamStates:
        """
        Args:
            words: (B, M, word_dims) tokens of the text encoder.
            mask: (B, M) bool, False at padding.
            regions: of B pictures.
            hidden: (B, 1 + K) bool, regions that are not shown.
            maps: receives the attention of each layer in which both meet, with
                gradient: (B, heads, M, 1 + K) of words to regions, and (B,
                heads, M + 1 + K, M + 1 + K) of joint layers, words first; None
                for a faster computation without it.
        """
        own_words, own_regions = self.read_words(words, mask), self.read_regions(regions, hidden)
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
        states, others = own_words, own_regions
        for ask, answer in zip(self.words_ask, self.regions_ask, strict=True):
            states, others = (
                ask(states, mask, others, region_mask, maps),
                answer(others, region_mask, states, mask),
            )
        if len(self.joint):
            num_words = states.shape[1]
            both, both_mask = torch.cat([states, others], 1), torch.cat([mask, region_mask], 1)
            for layer in self.joint:
                both = layer(both, both_mask, maps=maps)
            states, others = both[:, :num_words], both[:, num_words:]
        return StreamStates(states, others, own_words, own_regions, mask, region_mask)


def region_content(feats: Tensor) -> Tensor:
    """(..., C) what the streams see of a region, and what is predicted of a hidden one.

    The channels of a convolutional tower differ in size by orders of magnitude.
    """
    return F.layer_norm(feats, feats.shape[-1:])
