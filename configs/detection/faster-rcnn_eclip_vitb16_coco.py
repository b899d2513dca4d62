# A stock detector on the pretrained encoder, as an example of what any mmdet config needs.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['eclip_mm.models.detection'])
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type='eclip_mm.EclipBackbone',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/eclip_vitb16/last.pth'),
    ),
    neck=dict(_delete_=True, type='eclip_mm.SimpleFPN', in_channels=768),
)
