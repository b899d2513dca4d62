"""Convolutional towers: a fast layout, and finer tokens by dilation instead of strides."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: model types whose convolutions follow one another as ``named_modules`` lists them
CONVOLUTIONAL = ('efficientnet', 'convnext', 'convnextv2')


def lay_out(model: nn.Module, x: Tensor) -> Tensor:
    """Pictures or features (B, C, H, W) in the layout that the model is fastest with.

    Convolutions keep the layout of their input. With channels last they need no copies on
    processors, nor on GPUs in bf16. The values are the same.
    """
    if model.config.model_type in CONVOLUTIONAL and x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x


class PaddedConv2d(nn.Conv2d):
    """Convolution of stride 1 whose output has the size of its input.

    Args:
        old: the convolution to replace; weight and bias are its own.
        rate: dilation.
        before: pixels of padding on the left and above, for a dilation of 1.
    """

    def __init__(self, old: nn.Conv2d, rate: int, before: int):
        super().__init__(
            old.in_channels,
            old.out_channels,
            old.kernel_size,
            dilation=rate,
            groups=old.groups,
            bias=old.bias is not None,
        )
        self.weight, self.bias = old.weight, old.bias
        after = (old.kernel_size[0] - 1 - before) * rate
        self.pads = (before * rate, after, before * rate, after)
        self.pad_mode = 'constant' if old.padding_mode == 'zeros' else old.padding_mode

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads, mode=self.pad_mode))


def set_output_stride(model: nn.Module, output_stride: int) -> None:
    """Let a convolutional model give a token for every ``output_stride`` pixels.

    The last convolutions of stride 2 get stride 1, and what follows them is dilated (as in
    DeepLab: Chen et al., Rethinking Atrous Convolution, 2017). Weights stay. Each token that the
    model gave before is still there, with the same value: in every second row and column for half
    the stride. Only what takes a mean over all tokens (squeeze-excite, the response norm of
    ConvNeXt V2) sees another mean.

    Args:
        model: a model of :data:`CONVOLUTIONAL`, changed in place.
        output_stride: pixels per token.

    Raises:
        ValueError: the model is of another type, or has no such stride.
    """
    kind = model.config.model_type
    if kind not in CONVOLUTIONAL:
        raise ValueError(
            f'image_encoder.output_stride={output_stride!r} is for convolutional towers '
            f'({", ".join(CONVOLUTIONAL)}); {kind!r} has tokens of one size: leave it out'
        )
    convs = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    reached = [1]
    for _, conv in convs:
        if conv.stride[0] > 1:
            reached.append(reached[-1] * conv.stride[0])
    if output_stride not in reached[1:]:
        raise ValueError(
            f'image_encoder.output_stride={output_stride!r}: {type(model).__name__} can have '
            f'{", ".join(map(str, reached[1:]))}'
        )
    stride = rate = 1
    for name, conv in convs:
        step = conv.stride[0]
        if stride == output_stride and (step > 1 or rate > 1) and conv.kernel_size != (1, 1):
            model.set_submodule(name, PaddedConv2d(conv, rate, _padding_before(model, name, conv)))
        if stride < output_stride:
            stride *= step
        else:
            rate *= step


def _padding_before(model: nn.Module, name: str, conv: nn.Conv2d) -> int:
    """Pixels of padding on the left of a convolution, and above."""
    layer = model.get_submodule(name.rpartition('.')[0])
    if conv.stride[0] > 1 and hasattr(layer, 'depthwise_conv_pad'):  # EfficientNet
        layer.stride = 1  # what it asks before it pads by a module of its own
        return layer.depthwise_conv_pad.padding[0]
    if conv.padding == 'valid':
        return 0
    return (conv.kernel_size[0] - 1) // 2 if conv.padding == 'same' else conv.padding[0]
