from eclip_mm.models.heads.base import PretextHead
from eclip_mm.models.heads.build import PretextHeads
from eclip_mm.models.heads.inter_product_head import InterProductHead
from eclip_mm.models.heads.intra_product_head import IntraProductHead
from eclip_mm.models.heads.itc_head import ITCHead
from eclip_mm.models.heads.itm_head import ITMHead, draw_hard_negatives

__all__ = [
    'ITCHead',
    'ITMHead',
    'InterProductHead',
    'IntraProductHead',
    'PretextHead',
    'PretextHeads',
    'draw_hard_negatives',
]
