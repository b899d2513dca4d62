"""mmdet plug-ins: ``custom_imports = dict(imports=['eclip_mm.models.detection'])``."""

from eclip_mm.models.detection.backbone import EclipBackbone
from eclip_mm.models.detection.dense_branch import DenseBranch
from eclip_mm.models.detection.detr import EclipDETR
from eclip_mm.models.detection.detr_head import EclipDETRHead
from eclip_mm.models.detection.losses import OneHotFocalLoss
from eclip_mm.models.detection.pretrained import LoadReport, load_pretrained
from eclip_mm.models.detection.simple_fpn import SimpleFPN

__all__ = [
    'DenseBranch',
    'EclipBackbone',
    'EclipDETR',
    'EclipDETRHead',
    'LoadReport',
    'OneHotFocalLoss',
    'SimpleFPN',
    'load_pretrained',
]
