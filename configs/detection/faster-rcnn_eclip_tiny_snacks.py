# Faster R-CNN on the demo's encoder, pretrained by configs/demo/eclip_tiny_snacks.py.
_base_ = ['_base_/faster-rcnn_tiny.py', '_base_/coco_products.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=19)))
