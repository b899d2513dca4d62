from .instance_decoder import InstanceDecoder
from .instance_queries import IMAGE, TEXT, InstanceQueries, scale_prompts
from .negative_queries import GaussianNegatives, NegativeQueries, TextNegatives
from .slot_attention import SlotAttention

__all__ = [
    'IMAGE',
    'TEXT',
    'GaussianNegatives',
    'InstanceDecoder',
    'InstanceQueries',
    'NegativeQueries',
    'SlotAttention',
    'TextNegatives',
    'scale_prompts',
]
