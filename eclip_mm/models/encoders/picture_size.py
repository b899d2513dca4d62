"""Pictures and maps fit: sides are multiples of what a token covers."""

import math

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
