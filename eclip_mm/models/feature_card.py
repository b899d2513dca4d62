"""What the features at the frozen boundary of a model are of."""

import json
from hashlib import sha256

from torch import Tensor, nn

from eclip_mm.checkpoint.metadata import architecture_fields, known_fields
from eclip_mm.datasets.feature_cache import FeatureCard


def take_features(model: nn.Module, picture_size: tuple[int, int]) -> FeatureCard:
    """Let a model accept features of its frozen image tower in the place of pictures.

    The momentum model shares the frozen part and takes the same features.

    Args:
        model: an ``ECLIP``.
        picture_size: (height, width) of the pictures that the features are of.

    Returns:
        What features this model can take.

    Raises:
        ValueError: the image tower is not frozen, or cannot be continued from its boundary.
    """
    encoder = model.network.image_encoder
    if not hasattr(encoder, 'take_features'):
        raise ValueError(f'{type(encoder).__name__} cannot take features from a cache')
    boundary = encoder.take_features(picture_size)
    if model.teacher is not None:
        model.teacher.network.image_encoder.take_features(picture_size)
    return FeatureCard(
        weights=hash_frozen(encoder, model.data_preprocessor),
        boundary=boundary.name,
        picture_size=boundary.picture_size,
        shape=boundary.feature_shape,
    )


def hash_frozen(encoder: nn.Module, data_preprocessor: nn.Module) -> str:
    """sha256 of all that features at the boundary depend on beside the pictures.

    Weights count by their order and not by their names, which differ between versions of
    ``transformers``. The architecture counts as a whole, since its fields do not say which layers
    they are for, and without fields that nothing reads.
    """
    kind = encoder.model.config.model_type
    fields = known_fields(kind, architecture_fields(encoder.model.config))
    parts = [kind, encoder.num_frozen, encoder.conv_stem, encoder.conv_padding, fields]
    digest = sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for buffer in (data_preprocessor.mean, data_preprocessor.std):
        digest.update(_content(buffer))
    for group in encoder.layer_groups()[: encoder.num_frozen]:
        for module in group.modules:
            for value in module.state_dict().values():
                digest.update(_content(value))
        for value in group.loose:
            digest.update(_content(value))
    return digest.hexdigest()


def _content(value: Tensor) -> bytes:
    value = value.detach().cpu().contiguous()
    return repr(tuple(value.shape)).encode() + value.numpy().tobytes()
