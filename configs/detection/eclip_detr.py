# EclipDETR for COCO files of one's own, from any pretraining (docs/detection.md): classes, their
# names and the evaluation follow from the files.
_base_ = [
    '_base_/eclip_detr.py',
    '_base_/coco.py',
    '_base_/schedule_tiny.py',
    '_base_/runtime.py',
]
model = dict(class_prompts=True, bbox_head=dict(num_classes=None))
