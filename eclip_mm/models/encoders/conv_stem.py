"""Replacements for the convolutions of image encoders: patch projections and padding."""

from torch import Tensor, nn


class ConvStem(nn.Sequential):
    """3x3 convolutions of stride 2, then 1x1: patch tokens of a ViT.

    A ViT from scratch learns its first layer slowly; with a few convolutions
    in the place of the patch projection it needs several times fewer steps
    (Xiao et al., Early Convolutions Help Transformers See Better, 2021).

    Args:
        channels: of each convolution; n of them make patches of 2^n pixels.
        embed_dims: width of the tokens.
    """

    def __init__(self, channels: tuple[int, ...], embed_dims: int):
        layers = []
        for before, after in zip((3, *channels), channels, strict=False):
            # GroupNorm: the same in training, evaluation and the momentum model
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(4, after),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.Conv2d(channels[-1], embed_dims, 1))

    @property
    def weight(self) -> Tensor:
        """The models look up the projection's dtype here."""
        return self[0].weight


def replace_patch_projection(model: nn.Module, channels: tuple[int, ...]) -> None:
    """Put a :class:`ConvStem` into a ``transformers`` ViT.

    Raises:
        ValueError: the model has no patch projection of 2^n pixels for n
            convolutions.
    """
    embeddings = getattr(getattr(model, 'embeddings', None), 'patch_embeddings', None)
    projection = getattr(embeddings, 'projection', None)
    if not isinstance(projection, nn.Conv2d):
        raise ValueError(f'conv_stem: {type(model).__name__} has no patch projection to replace')
    if projection.kernel_size != (2 ** len(channels),) * 2:
        raise ValueError(
            f'conv_stem: {len(channels)} convolutions of stride 2 make patches of '
            f'{2 ** len(channels)} pixels, but patch_size is '
            f'{projection.kernel_size[0]}'
        )
    embeddings.projection = ConvStem(channels, projection.out_channels)


def replace_conv_padding(model: nn.Module, mode: str) -> None:
    """Pad the convolutions of a model otherwise than with zeros; weights stay.

    Raises:
        ValueError: it has no convolution that pads.
    """
    convs = [
        (n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and any(m.padding)
    ]
    if not convs:
        raise ValueError(
            f'conv_padding={mode!r}: no convolution of {type(model).__name__} pads its input; '
            'leave it out'
        )
    for name, old in convs:
        new = nn.Conv2d(
            old.in_channels,
            old.out_channels,
            old.kernel_size,
            old.stride,
            old.padding,
            old.dilation,
            old.groups,
            old.bias is not None,
            padding_mode=mode,
        )
        new.weight, new.bias = old.weight, old.bias
        model.set_submodule(name, new)
