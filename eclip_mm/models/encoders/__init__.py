from eclip_mm.models.encoders.transformers_encoders import (
    TransformersImageEncoder,
    TransformersTextEncoder,
)

__all__ = ['TransformersImageEncoder', 'TransformersTextEncoder']
