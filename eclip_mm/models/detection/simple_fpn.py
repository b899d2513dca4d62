"""A feature pyramid from the one map of a plain vision transformer."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from eclip_mm.registry import MODELS


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


@MODELS.register_module()
class SimpleFPN(BaseModule):
    """Maps of several strides, made from one map.

    Li et al., Exploring Plain Vision Transformer Backbones for Object
    Detection (ViTDet, ECCV 2022), Section 3: a single map needs no top-down
    pathway. mmdet has this neck only in a project outside its package.

    Args:
        in_channels: channels of the map.
        out_channels: channels of every level.
        scales: size of each level relative to the map: powers of two, the
            finest first. With patches of 16 pixels the default gives strides
            of 4, 8, 16 and 32.
        num_outs: number of levels. Those beyond ``scales`` are every second
            pixel of the previous level, as in mmdet's FPN.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: int = 5,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if not set(scales) <= {4, 2, 1, 0.5} or num_outs < len(scales):
            raise ValueError(
                'SimpleFPN: scales must be among 4, 2, 1 and 0.5, and num_outs at least as many; '
                f'got {tuple(scales)} and {num_outs}'
            )
        self.levels = nn.ModuleList(
            _resample(in_channels, scale, out_channels) for scale in scales
        )
        self.num_outs = num_outs

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """
        Args:
            inputs: maps, of which the last one (B, in_channels, h, w) is used.

        Returns:
            ``num_outs`` maps (B, out_channels, h * scale, w * scale).
        """
        outs = [level(inputs[-1]) for level in self.levels]
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)


def _resample(channels: int, scale: float, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    if scale == 0.5:
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    while scale > 1:
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        channels, scale = channels // 2, scale / 2
        if scale > 1:
            layers += [ChannelNorm(channels), nn.GELU()]
    return nn.Sequential(
        *layers,
        nn.Conv2d(channels, out_channels, 1, bias=False),
        ChannelNorm(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        ChannelNorm(out_channels),
    )
