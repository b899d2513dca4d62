"""The image encoder as a backbone of mmdet's detectors."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from eclip_mm.config.detection import fill_backbone
from eclip_mm.models.detection.pretrained import load_pretrained
from eclip_mm.models.detection.window_attention import (
    WindowMixin,
    check_layers,
    find_layers,
    use_windows,
)
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
        out_layers: layers of a plain vision transformer whose tokens are further
            maps before that of the whole encoder, counted from 0.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH)`` loads the image
            encoder of a pretraining checkpoint by name, see
            :func:`load_pretrained`; with ``prefix='teacher.network.'`` it is
            the encoder of the momentum model.

    Attributes:
        embed_dims: channels of every map.
        num_maps: number of maps.
    """

    def __init__(
        self,
        encoder: dict | None = None,
        gradient_checkpointing: bool = False,
        window_size: int | None = None,
        global_layers: Sequence[int] | None = None,
        out_layers: Sequence[int] = (),
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
        stride = self.encoder.patch_size
        self._stride = None if self.encoder.is_pyramid else stride
        self.pad_to = self._stride or 1
        self._needs_square = False
        self.out_layers = tuple(out_layers)
        self.num_maps = len(self.out_layers) + 1
        self._tokens: dict[int, Tensor] = {}
        for index in check_layers(self.encoder.model, self.out_layers, 'out_layers'):
            find_layers(self.encoder.model)[index].register_forward_hook(_Keep(self, index))
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

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the picture per cell of each map.

        That of a pyramid, a power of two, is measured once, on a picture of the encoder's own
        size.
        """
        if self._stride is None:
            self._stride = self._measure_stride()
        return (self._stride,) * self.num_maps

    @torch.no_grad()
    def _measure_stride(self) -> int:
        training, weight = self.training, next(self.encoder.parameters())
        side = getattr(self.encoder.model.config, 'image_size', 64)
        side = max(side) if isinstance(side, (tuple, list)) else side
        picture = torch.zeros(1, 3, side, side, device=weight.device, dtype=weight.dtype)
        self.eval()
        try:
            count = self.encoder(picture, any_size=True)[2][0]
            try:
                self.encoder(torch.cat([picture, picture], dim=3), any_size=True)
            except ValueError:  # Swin's tokens come without the shape of their map
                self._needs_square = True
        finally:
            self.train(training)
        return 2 ** round(math.log2(side / count))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures.

        Returns:
            Maps (B, C, h, w), h and w rounded up to whole patches: those of
            ``out_layers``, and that of the encoder.
        """
        height, width = images.shape[-2:]
        stride = self.strides[0]
        down, right = -height % self.pad_to, -width % self.pad_to
        if self._needs_square:
            side = max(height, width)
            down, right = side - height, side - width
        images = F.pad(images, (0, right, 0, down))
        grid = tuple(side // stride for side in images.shape[-2:])
        for module in self.modules():  # no stored list: a copy of the model has other modules
            if isinstance(module, WindowMixin):
                module.grid = grid
        _, tokens, grid = self.encoder(images, any_size=True)
        count = grid[0] * grid[1]
        kept = [self._tokens.pop(index)[:, -count:] for index in self.out_layers]
        # windows, and squares, may have added whole cells of padding
        rows, columns = (math.ceil(side / stride) for side in (height, width))
        return tuple(
            part.transpose(1, 2).unflatten(2, grid)[..., :rows, :columns].contiguous()
            for part in (*kept, tokens)
        )


class _Keep:
    """A hook that hands the tokens of a layer to the backbone that it belongs to."""

    def __init__(self, backbone: EclipBackbone, index: int):
        self.tokens, self.index = backbone._tokens, index

    def __call__(self, layer: nn.Module, args: tuple, output) -> None:
        self.tokens[self.index] = output[0] if isinstance(output, tuple) else output


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
