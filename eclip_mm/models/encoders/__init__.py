from .transformers_encoders import TransformersImageEncoder, TransformersTextEncoder

__all__ = ['TransformersImageEncoder', 'TransformersTextEncoder']
