from eclip_mm.models.decoders.catalogue_negatives import CatalogueNegatives, most_similar
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
    'CatalogueNegatives',
    'EMANegatives',
    'GaussianNegatives',
    'InstanceDecoder',
    'InstanceQueries',
    'NegativeQueries',
    'SlotAttention',
    'SwitchableNegatives',
    'TextNegatives',
    'most_similar',
    'scale_prompts',
]
