"""The image encoder as a backbone of mmdet's detectors."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from eclip_mm.config.detection import fill_backbone
from eclip_mm.models.detection.pretrained import load_pretrained
from eclip_mm.models.detection.window_attention import WindowMixin, use_windows
from eclip_mm.registry import MODELS


@MODELS.register_module()
class EclipBackbone(BaseModule):
    """Patch tokens of the image encoder as one feature map.

    Pictures may have any size: they are padded at the right and lower edge to
    whole patches, and position embeddings are interpolated. Class and register
    tokens take part in the attention and are left out of the map.

    Attention uses torch's fused kernels, which keep no N x N matrix, so that
    the memory of training is proportional to the number of tokens. By torch's
    saved-tensor hooks, a layer keeps 40 bytes per token and channel in bf16
    autocast and 64 in float32: for ViT-B/16 at 800 x 1333 (4,200 tokens) 1.6
    or 2.5 GB per picture. With ``gradient_checkpointing`` it is one float32
    residual per layer and one whole layer, 0.3 GB by calculation.

    Args:
        encoder: config of the image encoder; None takes that of the
            pretraining in ``init_cfg.checkpoint``.
        gradient_checkpointing: recompute activations in the backward pass.
        window_size: side, in patches, of the windows that the attention of a
            layer is limited to; pictures are padded to whole windows. None
            lets all layers attend to the whole picture.
        global_layers: layers that attend to the whole picture although
            ``window_size`` is set. None takes four, evenly spaced, as ViTDet
            does.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH)`` loads the image
            encoder of a pretraining checkpoint by name, see
            :func:`load_pretrained`; with ``prefix='teacher.network.'`` it is
            the encoder of the momentum model.

    Attributes:
        embed_dims: channels of the map.
        stride: pixels of the picture per cell of the map; None if the encoder
            does not say so (convolutional encoders).
    """

    def __init__(
        self,
        encoder: dict | None = None,
        gradient_checkpointing: bool = False,
        window_size: int | None = None,
        global_layers: Sequence[int] | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(init_cfg, 'EclipBackbone')
        cfg = dict(encoder=encoder, init_cfg=init_cfg)
        fill_backbone(cfg)
        cfg = dict(cfg['encoder'])
        cfg.pop('patch_dropout', None)  # of the pretraining; a map has all cells
        if gradient_checkpointing:
            cfg['gradient_checkpointing'] = True
        self.encoder = build_part(cfg)
        if hasattr(self.encoder, 'freeze_head'):
            self.encoder.freeze_head()
        self.embed_dims = self.encoder.embed_dims
        # `patch_size` of a pyramid (ConvNeXt, Swin) is that of its first stage
        plain = not hasattr(self.encoder.model.config, 'depths')
        self.stride = self.encoder.patch_size if plain else None
        self.pad_to = self.stride or 1
        if window_size is not None:
            depth = self.encoder.model.config.num_hidden_layers
            if global_layers is None:
                global_layers = sorted({math.ceil(depth * k / 4) - 1 for k in (1, 2, 3, 4)})
            use_windows(self.encoder.model, window_size, list(global_layers))
            self.pad_to *= window_size
        elif global_layers is not None:
            raise ValueError('EclipBackbone: global_layers without window_size changes nothing')

    def init_weights(self):
        """Load ``init_cfg.checkpoint``, if there is one."""
        if self.init_cfg and not self.is_init:
            load_pretrained({'image_encoder': self.encoder}, **pretrained_source(self.init_cfg))
        self.is_init = True

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.

        Returns:
            One map (B, C, h, w), h and w rounded up to whole patches.
        """
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.pad_to, 0, -height % self.pad_to))
        if self.stride:
            grid = tuple(side // self.stride for side in images.shape[-2:])
            for module in self.modules():  # no stored list: a copy of the model has other modules
                if isinstance(module, WindowMixin):
                    module.grid = grid
        _, tokens, grid = self.encoder(images, any_size=True)
        features = tokens.transpose(1, 2).unflatten(2, grid)
        if self.stride:  # windows may have added whole cells of padding
            rows, columns = (math.ceil(side / self.stride) for side in (height, width))
            features = features[..., :rows, :columns]
        return (features.contiguous(),)


def build_part(cfg: dict) -> nn.Module:
    """Build a component of eclip_mm from inside a detector with another default scope."""
    with DefaultScope.overwrite_default_scope('eclip_mm'):
        return MODELS.build(cfg)


def check_init_cfg(init_cfg, name: str) -> None:
    """Check the ``init_cfg`` of a component that loads a pretraining.

    Raises:
        ValueError: ``init_cfg`` is not of the form
            ``dict(type='Pretrained', checkpoint=..., prefix=...)``.
    """
    if init_cfg is None:
        return
    known = {'type', 'checkpoint', 'prefix'}
    if (
        not isinstance(init_cfg, dict)
        or init_cfg.get('type') != 'Pretrained'
        or not init_cfg.get('checkpoint')
        or init_cfg.keys() - known
    ):
        raise ValueError(
            f"{name}: init_cfg must be dict(type='Pretrained', checkpoint=PATH), optionally with "
            f"prefix='teacher.network.'; got {init_cfg!r}"
        )


def pretrained_source(init_cfg: dict) -> dict:
    """Arguments of :func:`load_pretrained` from an ``init_cfg``."""
    return {key: value for key, value in init_cfg.items() if key != 'type'}
