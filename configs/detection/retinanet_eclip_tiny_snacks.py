# RetinaNet on the demo's encoder, pretrained by configs/demo/eclip_tiny_snacks.py.
# Anchors have 24 to 152 pixels, products 50 to 160.
_base_ = ['_base_/retinanet_tiny.py', '_base_/coco_products.py']
model = dict(bbox_head=dict(num_classes=19))
