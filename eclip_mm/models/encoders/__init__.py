from eclip_mm.models.encoders.image_encoder import TransformersImageEncoder
from eclip_mm.models.encoders.text_encoder import TransformersTextEncoder

__all__ = ['TransformersImageEncoder', 'TransformersTextEncoder']
