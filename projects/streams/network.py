"""The towers with a text stream, an image stream, co-attention and joint layers behind them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import projects.streams.stream_encoder  # noqa: F401  registers
from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.models.instance_network import InstanceNetwork
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS
from projects.streams.outputs import StreamStates
from projects.streams.regions import Regions


class StreamsNetwork(InstanceNetwork):
    """Encoders and streams; the features of pictures and texts are CLIP's, without the streams.

    g_I and g_T read the towers' tokens detached: what retrieves the candidates
    that a model without contrast ranks again does not train the towers.

    Args:
        image_encoder, text_encoder, embed_dims, queries, decoder, options: see
            :class:`InstanceNetwork`; there is no decoder.
        streams: config of the :class:`StreamEncoder`.
        regions: config of what stands in the place of a detector's regions.

    Raises:
        ValueError: a text tower that makes padding part of a text.
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
        super().__init__(image_encoder, text_encoder, embed_dims, None, None, **options)
        padding = getattr(self.text_encoder, 'padding', 'longest')
        if padding != 'longest':
            raise ValueError(
                'the streams read the words of a text, without padding, but text_encoder.padding '
                f"is {padding!r}, which makes padding part of the text: set padding='longest' and "
                'use_mask=True, or take another text encoder'
            )
        widths = dict(
            word_dims=self.text_encoder.embed_dims, region_dims=self.image_encoder.embed_dims
        )
        self.streams = MODELS.build(with_embed_dims(streams, embed_dims, 'streams') | widths)
        self.regions = MODELS.build(regions or dict(type='PatchRegions'))

    def find_regions(self, images: Tensor) -> tuple[Regions, tuple[int, int]]:
        """The regions of (B, 3, H, W) normalised pictures, or of features; patch grid (h, w)."""
        class_token, patch_tokens, grid = self.image_encoder(images)
        return self.regions(class_token, patch_tokens, grid, images), grid

    def read(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        regions: Regions,
        maps: list[Tensor] | None = None,
    ) -> StreamStates:
        """The streams on texts and regions.

        Args:
            input_ids, attention_mask: (B, M).
            regions: of B pictures.
            maps: receives attention, see :class:`StreamEncoder`.
        """
        words = self.text_encoder.encode_tokens(input_ids, attention_mask)
        return self.streams(words, attention_mask.bool(), regions, maps)

    def project_image(self, class_token: Tensor) -> Tensor:
        """(B, D) L2-normalised g_I(v_cls) of (B, C) tokens, through which no gradient flows."""
        return F.normalize(at_least_float32(self.image_proj(class_token.detach())), dim=-1)

    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        class_token, patch_tokens, grid = self.image_encoder(images)
        tokens = self.patch_proj(patch_tokens.detach(), self.image_encoder, self.image_proj)
        return self.project_image(class_token), tokens, grid

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        with torch.no_grad():
            class_token = self.text_encoder(input_ids, attention_mask)
        return F.normalize(at_least_float32(self.text_proj(class_token)), dim=-1)


class PooledStreamsNetwork(StreamsNetwork):
    """Encoders and streams whose features are pooled from each modality's own stream.

    A feature is g(first state), where g is a linear map and a ReLU. The first
    state of the image stream is that of the whole picture.

    Raises:
        ValueError: ``projections`` or ``pretrained_dual`` are given.
    """

    def __init__(self, *args, **kwargs):
        for name in ('projections', 'pretrained_dual', 'patch_projection'):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f'{name}={kwargs[name]!r}: this model pools the states of its streams, of '
                    f'which the towers have no projection; set {name}=None'
                )
        super().__init__(*args, **kwargs)
        width = self.streams.embed_dims
        self.image_proj = nn.Sequential(nn.Linear(width, self.embed_dims), nn.ReLU())
        self.text_proj = nn.Sequential(nn.Linear(width, self.embed_dims), nn.ReLU())

    def options(self) -> dict:
        return {}

    def pool_image(self, states: StreamStates) -> Tensor:
        """(B, D) L2-normalised, of the image stream."""
        return F.normalize(at_least_float32(self.image_proj(states.own_regions[:, 0])), dim=-1)

    def pool_text(self, states: StreamStates) -> Tensor:
        """(B, D) L2-normalised, of the text stream."""
        return F.normalize(at_least_float32(self.text_proj(states.own_words[:, 0])), dim=-1)

    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.

        Returns:
            L2-normalised feature of the whole picture (B, D); features of the
            patches (B, N, D), pooled in the same way; patch grid (h, w).
        """
        regions, grid = self.find_regions(images)
        states = self.streams.read_regions(regions)
        feats = F.normalize(at_least_float32(self.image_proj(states[:, 0])), dim=-1)
        return feats, regions.to_patches(self.image_proj(states[:, 1:])), grid

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, D) L2-normalised feature of (B, M) texts."""
        words = self.text_encoder.encode_tokens(input_ids, attention_mask)
        states = self.streams.read_words(words, attention_mask.bool())
        return F.normalize(at_least_float32(self.text_proj(states[:, 0])), dim=-1)
