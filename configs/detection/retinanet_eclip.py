# RetinaNet on the encoder of any pretraining, for COCO files of one's own (docs/detection.md):
# strides, widths, classes and the evaluation follow from the checkpoint and the files.
_base_ = ['_base_/retinanet_tiny.py', '_base_/coco.py']
model = dict(
    neck=dict(in_channels=None),
    bbox_head=dict(num_classes=None, anchor_generator=dict(strides=None)),
)
