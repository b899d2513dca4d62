"""The towers with a text stream, an image stream, co-attention and joint layers behind them."""

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.models.instance_network import InstanceNetwork
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample
from projects.streams.outputs import StreamStates
from projects.streams.regions import Regions


class StreamsNetwork(InstanceNetwork):
    """Encoders and streams. Features of pictures and texts are those of CLIP, without streams.

    The projections g_I and g_T read the tower's tokens detached: the towers
    learn from the streams alone.

    Args:
        image_encoder, text_encoder, embed_dims, queries, decoder, options: see
            :class:`InstanceNetwork`; there is no decoder.
        streams: config of the :class:`StreamEncoder`.
        regions: config of what stands in the place of a detector's regions.
    """

    def __init__(
        self,
        image_encoder: dict,
        text_encoder: dict,
        embed_dims: int,
        queries: dict | None,
        decoder: dict | None,
        streams: dict,
        regions: dict | None = None,
        **options,
    ):
        super().__init__(image_encoder, text_encoder, embed_dims, queries, decoder, **options)
        widths = dict(
            word_dims=self.text_encoder.embed_dims, region_dims=self.image_encoder.embed_dims
        )
        self.streams = MODELS.build(
            dict(with_embed_dims(streams, embed_dims, 'streams'), **widths)
        )
        self.regions = MODELS.build(regions or dict(type='PatchRegions'))

    def find_regions(
        self, images: Tensor, pictures: Tensor, data_samples: list[ProductDataSample]
    ) -> tuple[Regions, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures, or features at the frozen
                boundary.
            pictures: the same before normalisation, for a proposer.
            data_samples: B samples.

        Returns:
            The regions; patch grid (h, w).
        """
        class_token, patch_tokens, grid = self.image_encoder(images)
        return self.regions(class_token, patch_tokens, grid, pictures, data_samples), grid

    def read(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        regions: Regions,
        hidden: Tensor | None = None,
    ) -> StreamStates:
        """The streams on texts and regions.

        Args:
            input_ids, attention_mask: (B, M).
            regions: of B pictures.
            hidden: (B, 1 + K) bool, regions whose features are not shown.
        """
        words = self.text_encoder.encode_tokens(input_ids, attention_mask)
        return self.streams(words, attention_mask.bool(), regions, hidden)
