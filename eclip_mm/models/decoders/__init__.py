from eclip_mm.models.decoders.instance_decoder import InstanceDecoder
from eclip_mm.models.decoders.instance_queries import IMAGE, TEXT, InstanceQueries, scale_prompts
from eclip_mm.models.decoders.negative_queries import (
    EMANegatives,
    GaussianNegatives,
    NegativeQueries,
    SwitchableNegatives,
    TextNegatives,
)
from eclip_mm.models.decoders.slot_attention import SlotAttention

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
