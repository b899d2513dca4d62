"""Widths that a config repeats, compared with those of the encoders."""

from torch import nn


def check_widths(heads: dict[str, nn.Module], widths: dict[str, int], masking) -> None:
    """Check that heads and masks have the vocabulary and the widths of the encoders.

    Args:
        heads: the pretext heads by name.
        widths: ``vocab_size`` of the text encoder and ``region_dims``, the
            width of the image encoder.
        masking: the masks, which have a ``vocab_size``.

    Raises:
        ValueError: one differs; the message names the key of the config.
    """
    parts = {f'pretext_heads.{name}': head for name, head in heads.items()}
    for name, part in {**parts, 'masking': masking}.items():
        for key, wanted in widths.items():
            found = getattr(part, key, wanted)
            if found != wanted:
                raise ValueError(
                    f'model.{name}.{key}={found}, but the encoder has {wanted}: set {key}={wanted}'
                )
