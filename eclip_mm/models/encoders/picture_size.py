"""Pictures and maps fit: sides are multiples of what a token covers."""

import math

from mmengine.logging import print_log
from torch import nn


def find_width(model: nn.Module) -> int:
    """Width of the tokens that a vision model gives."""
    sizes = getattr(model.config, 'hidden_sizes', None)
    width = sizes[-1] if sizes else getattr(model.config, 'hidden_size', None)
    if width is None:  # EfficientNet: it follows from several fields
        width = [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1].out_channels
    return width


def check_patches(config) -> int | None:
    """Patch size of a vision model's config, None where it has none.

    Raises:
        ValueError: ``image_size`` is no multiple of it.
    """
    patch = _as_number(getattr(config, 'patch_size', None))
    size = getattr(config, 'image_size', None)
    for side in (size if isinstance(size, (tuple, list)) else (size,)) if patch else ():
        if side is not None and side % patch:
            low = side - side % patch
            raise ValueError(
                f'image_encoder.config of {config.model_type!r}: image_size={side} is no multiple '
                f'of patch_size={patch}: the last {side % patch} pixels would be dropped and the '
                f'map stretched over them. Set '
                f'image_encoder.config=dict(image_size={low or patch}), or {low + patch}'
            )
    return patch


def use_whole_patches(config, source: str) -> None:
    """Set ``image_size`` of a pretrained model to the part that its patches cover, in place.

    SigLIP so400m-patch14-384 has 27 x 27 patches of 14 pixels, which leave 6 of 384 pixels without
    a token: its convolution drops them. With 378 pixels the weights are the same, and a map lies
    where its tokens do. The features of a 384 px picture are those of its first 378 pixels.

    Args:
        config: of the model; nothing happens to one whose patches fit.
        source: folder or name of the model, for the log.
    """
    patch, size = _as_number(getattr(config, 'patch_size', None)), _side(config)
    if patch and size and size > patch and size % patch:
        config.image_size = size - size % patch
        print_log(
            f'{source}: its patches of {patch} pixels cover {config.image_size} of {size} pixels, '
            'and the model drops the rest of each picture. Its tokens here belong to pictures of '
            f'{config.image_size} x {config.image_size} pixels: resize to that size',
            logger='current',
        )


def covered_size(size: tuple[int, int] | None, config) -> tuple[int, int] | None:
    """The size of the pictures that a model of whole patches takes.

    Args:
        size: (height, width) that the files of the model give, None for any.
        config: of the model, after :func:`use_whole_patches`.
    """
    patch, side = _as_number(getattr(config, 'patch_size', None)), _side(config)
    if size is None or not patch or not side:
        return size
    return tuple(side if n != side and n - n % patch == side else n for n in size)


def _side(config) -> int | None:
    return _as_number(getattr(config, 'image_size', None))


def _as_number(value) -> int | None:
    """``16`` of 16 and of (16, 16)."""
    if isinstance(value, (tuple, list)):
        return value[0] if len(set(value)) == 1 else None
    return value


def check_sides(sides: tuple[int, int], token_size: int) -> None:
    """Check that pictures consist of whole patches.

    Raises:
        ValueError: they do not.
    """
    if any(side % token_size for side in sides):
        raise ValueError(
            f'pictures of {sides[0]} x {sides[1]} pixels do not consist of whole patches of '
            f'{token_size}: the map would be stretched over the last ones. Each side has to be a '
            f'multiple of {token_size}'
        )


def check_cover(sides: tuple[int, int], grid: tuple[int, int]) -> None:
    """Check that the tokens of a pyramid cover the pictures evenly.

    Raises:
        ValueError: they cover more or less than the pictures: the pixels per
            token are no power of two.
    """
    for side, tokens in zip(sides, grid, strict=True):
        per_token = side / tokens
        if per_token != 2 ** round(math.log2(per_token)):
            raise ValueError(
                f'pictures of {sides[0]} x {sides[1]} pixels give {grid[0]} x {grid[1]} tokens, '
                'which do not cover them evenly: the map would be stretched over them. Each side '
                'has to be a multiple of the pixels of a token (32 for most pyramids)'
            )
