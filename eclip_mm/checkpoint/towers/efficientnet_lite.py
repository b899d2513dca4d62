"""EfficientNet-lite as ``EfficientNetModel`` of ``transformers``.

EfficientNet-lite is EfficientNet with ReLU6 and without squeeze-and-excitation; its stem, head,
first and last stage are not scaled. An ``EfficientNetConfig`` can express all of that, except that
the model always has squeeze-and-excitation. Here it multiplies by sigmoid(30), which is 1 in
float32.
"""

import math

import torch
from torch import Tensor

#: of the unscaled network, a stage each
KERNELS = (3, 3, 5, 3, 5, 5, 3)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)
REPEATS = (1, 2, 2, 3, 3, 4, 1)
CHANNELS = (16, 24, 40, 80, 112, 192, 320)
STEM = 32
HEAD = 1280
MEAN, STD = 127.0, 128.0
#: name -> factor of the width, factor of the depth, pixels. The originals were trained at 224, 240
#: and 260 px; a map that covers the picture evenly needs a multiple of 32
VARIANTS = {
    'efficientnet-lite0': (1.0, 1.0, 224),
    'efficientnet-lite1': (1.0, 1.1, 256),
    'efficientnet-lite2': (1.1, 1.2, 256),
}

_PARTS = {
    '_expand_conv': 'expansion.expand_conv',
    '_bn0': 'expansion.expand_bn',
    '_depthwise_conv': 'depthwise_conv.depthwise_conv',
    '_bn1': 'depthwise_conv.depthwise_norm',
    '_project_conv': 'projection.project_conv',
    '_bn2': 'projection.project_bn',
}
_ENDS = {
    '_conv_stem': 'embeddings.convolution',
    '_bn0': 'embeddings.batchnorm',
    '_conv_head': 'encoder.top_conv',
    '_bn1': 'encoder.top_bn',
}


def lite_config(width: float, depth: float, image_size: int) -> dict:
    """Fields of the ``EfficientNetConfig`` of an EfficientNet-lite.

    Args:
        width: factor of the channels.
        depth: factor of the number of blocks of a stage.
        image_size: pixels of a side. TensorFlow pads by the size of the
            picture, ``transformers`` by the config. The config of a multiple of
            32 is right for all of them, any other for its own size only.

    Raises:
        ValueError: an odd ``image_size``, which the stem cannot pad.
    """
    channels = [round_channels(width * number) for number in CHANNELS]
    repeats = [math.ceil(depth * number) for number in REPEATS]
    repeats[0], repeats[-1] = REPEATS[0], REPEATS[-1]
    return dict(
        architectures=['EfficientNetModel'],
        model_type='efficientnet',
        image_size=image_size,
        num_channels=3,
        width_coefficient=1.0,  # the lists below are scaled already
        depth_coefficient=1.0,
        depth_divisor=8,
        kernel_sizes=list(KERNELS),
        strides=list(STRIDES),
        expand_ratios=list(EXPANSIONS),
        in_channels=[STEM, *channels[:-1]],
        out_channels=channels,
        num_block_repeats=repeats,
        depthwise_padding=square_paddings(image_size, repeats),
        squeeze_expansion_ratio=0.0,  # one channel, the least there is
        hidden_act='relu6',
        hidden_dim=HEAD,
        pooling_type='mean',
        batch_norm_eps=1e-3,
        batch_norm_momentum=0.01,  # torch's; TensorFlow calls it 0.99, transformers' default
        drop_connect_rate=0.2,
    )


def round_channels(channels: float) -> int:
    """The multiple of 8 nearest to a scaled number of channels, at most 10% below it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def square_paddings(image_size: int, repeats: list[int]) -> list[int]:
    """Indices of the blocks that halve a map of an odd side and pad it equally on all sides.

    A map of an even side is padded by one pixel more on the right and at the bottom.
    """
    if image_size % 2:
        raise ValueError(f'image_size={image_size} is odd; the stem pads for even sizes only')
    side, block, found = image_size // 2, 0, []
    for stride, number in zip(STRIDES, repeats, strict=True):
        if stride == 2 and side % 2:
            found.append(block)
        side = math.ceil(side / stride)
        block += number
    return found


def convert_lite(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of ``EfficientNetModel`` from those of ``efficientnet_lite_pytorch``.

    Args:
        state: state dict of the original, whose classifier is left out.

    Raises:
        KeyError: a name that an EfficientNet-lite does not have.
    """
    converted = {}
    for name, tensor in state.items():
        if name.startswith('_fc.'):
            continue
        if not name.startswith('_blocks.'):
            module, leaf = name.split('.')
            converted[f'{_ENDS[module]}.{leaf}'] = tensor
            continue
        _, number, module, leaf = name.split('.')
        block = f'encoder.blocks.{number}'
        converted[f'{block}.{_PARTS[module]}.{leaf}'] = tensor
        if module == '_depthwise_conv':
            converted.update(_no_squeeze(f'{block}.squeeze_excite', len(tensor)))
    return converted


def _no_squeeze(name: str, channels: int) -> dict[str, Tensor]:
    """Squeeze-and-excitation that changes nothing."""
    return {
        f'{name}.reduce.weight': torch.zeros(1, channels, 1, 1),
        f'{name}.reduce.bias': torch.zeros(1),
        f'{name}.expand.weight': torch.zeros(channels, 1, 1, 1),
        f'{name}.expand.bias': torch.full((channels,), 30.0),
    }


def lite_processor(image_size: int) -> dict:
    """Fields of the processor file: squashed to a square, mean 127 and std 128 of 255."""
    return dict(
        image_processor_type='EfficientNetImageProcessor',
        do_resize=True,
        size=dict(height=image_size, width=image_size),
        resample=3,  # bicubic
        do_center_crop=False,
        do_rescale=True,
        rescale_factor=1 / 255,
        rescale_offset=False,
        do_normalize=True,
        image_mean=[MEAN / 255] * 3,
        image_std=[STD / 255] * 3,
        include_top=False,  # which would divide by the std a second time
    )
