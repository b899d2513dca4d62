"""The arithmetic of EfficientNet-lite in plain torch, and random weights for it."""

import torch
from torch.nn import functional as F

from eclip_mm.checkpoint.towers.efficientnet_lite import STRIDES


def same(images, weight, stride=1, groups=1):
    """Convolution as TensorFlow pads it: as much as ceil(side / stride) outputs need."""
    kernel = weight.shape[-1]
    pads = []
    for side in reversed(images.shape[-2:]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(images, pads), weight, stride=stride, groups=groups)


def reference(state, images, repeats):
    """The last map of EfficientNet-lite, from its published description, an operation a line."""

    def norm(x, name):
        mean, var, weight, bias = (
            state[f'{name}.{key}'][:, None, None]
            for key in ('running_mean', 'running_var', 'weight', 'bias')
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    def relu6(x):
        return x.clamp(0, 6)

    x = relu6(norm(same(images, state['_conv_stem.weight'], 2), '_bn0'))
    block = 0
    for stride, number in zip(STRIDES, repeats, strict=True):
        for step in range(number):
            name, before = f'_blocks.{block}', x
            if f'{name}._expand_conv.weight' in state:
                x = relu6(norm(same(x, state[f'{name}._expand_conv.weight']), f'{name}._bn0'))
            weight = state[f'{name}._depthwise_conv.weight']
            x = same(x, weight, 1 if step else stride, groups=len(weight))
            x = relu6(norm(x, f'{name}._bn1'))
            x = norm(same(x, state[f'{name}._project_conv.weight']), f'{name}._bn2')
            x = x + before if step else x
            block += 1
    return relu6(norm(same(x, state['_conv_head.weight']), '_bn1'))


def random_state(config, seed=0):
    """Weights in the original's names, for a network as the config says."""
    generator = torch.Generator().manual_seed(seed)

    def conv(name, out, into, kernel):
        scale = (2 / (into * kernel**2)) ** 0.5
        state[name] = torch.randn(out, into, kernel, kernel, generator=generator) * scale

    def norm(name, channels):
        for key, low, high in (
            ('weight', 0.5, 1.5),
            ('bias', -1, 1),
            ('running_mean', -1, 1),
            ('running_var', 0.5, 2),
        ):
            values = torch.rand(channels, generator=generator) * (high - low) + low
            state[f'{name}.{key}'] = values
        state[f'{name}.num_batches_tracked'] = torch.tensor(7)

    state, block = {}, 0
    conv('_conv_stem.weight', 32, 3, 3)
    norm('_bn0', 32)
    stages = [config[key] for key in ('in_channels', 'out_channels', 'kernel_sizes')]
    stages += [config['expand_ratios'], config['num_block_repeats']]
    for into, out, kernel, expand, number in zip(*stages, strict=True):
        for _ in range(number):
            name, wide = f'_blocks.{block}', into * expand
            if expand > 1:
                conv(f'{name}._expand_conv.weight', wide, into, 1)
                norm(f'{name}._bn0', wide)
            conv(f'{name}._depthwise_conv.weight', wide, 1, kernel)
            norm(f'{name}._bn1', wide)
            conv(f'{name}._project_conv.weight', out, wide, 1)
            norm(f'{name}._bn2', out)
            into, block = out, block + 1
    conv('_conv_head.weight', 1280, into, 1)
    norm('_bn1', 1280)
    state['_fc.weight'], state['_fc.bias'] = torch.zeros(1000, 1280), torch.zeros(1000)
    return state
