from .base import PretextHead
from .inter_product_head import InterProductHead
from .intra_product_head import IntraProductHead
from .itc_head import ITCHead
from .itm_head import ITMHead, draw_hard_negatives

__all__ = [
    'ITCHead',
    'ITMHead',
    'InterProductHead',
    'IntraProductHead',
    'PretextHead',
    'draw_hard_negatives',
]
