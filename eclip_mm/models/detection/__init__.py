"""mmdet plug-ins: ``custom_imports = dict(imports=['eclip_mm.models.detection'])``."""

from .backbone import EclipBackbone
from .detr import EclipDETR
from .detr_head import EclipDETRHead
from .pretrained import LoadReport, load_pretrained
from .simple_fpn import SimpleFPN

__all__ = [
    'EclipBackbone',
    'EclipDETR',
    'EclipDETRHead',
    'LoadReport',
    'SimpleFPN',
    'load_pretrained',
]
