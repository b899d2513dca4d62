from .instance_decoder import InstanceDecoder
from .instance_queries import IMAGE, TEXT, InstanceQueries, scale_prompts
from .negative_queries import GaussianNegatives
from .slot_attention import SlotAttention

__all__ = ['IMAGE', 'TEXT', 'GaussianNegatives', 'InstanceDecoder', 'InstanceQueries',
           'SlotAttention', 'scale_prompts']
