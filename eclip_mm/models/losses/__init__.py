from eclip_mm.models.losses.assignment_entropy import (
    AssignmentEntropyLoss,
    assignment_entropy_loss,
    query_entropy,
)
from eclip_mm.models.losses.info_nce import InfoNCELoss, info_nce

__all__ = [
    'AssignmentEntropyLoss',
    'InfoNCELoss',
    'assignment_entropy_loss',
    'info_nce',
    'query_entropy',
]
