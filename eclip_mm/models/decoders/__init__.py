from .instance_decoder import InstanceDecoder
from .instance_queries import IMAGE, TEXT, InstanceQueries, scale_prompts
from .negative_queries import (
    EMANegatives,
    GaussianNegatives,
    NegativeQueries,
    SwitchableNegatives,
    TextNegatives,
)
from .slot_attention import SlotAttention

__all__ = [
    'IMAGE',
    'TEXT',
    'EMANegatives',
    'GaussianNegatives',
    'InstanceDecoder',
    'InstanceQueries',
    'NegativeQueries',
    'SlotAttention',
    'SwitchableNegatives',
    'TextNegatives',
    'scale_prompts',
]
