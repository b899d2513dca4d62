# The demo's model, pretrained by configs/demo/eclip_tiny_snacks.py, as a detector.
#   python tools/train.py configs/detection/eclip_detr_tiny_snacks.py \
#       --cfg-options model.init_cfg.checkpoint=work_dirs/eclip_tiny_snacks/CHECKPOINT
_base_ = [
    '_base_/eclip_detr.py',
    '_base_/coco_products.py',
    '_base_/schedule_tiny.py',
    '_base_/runtime.py',
]
model = dict(
    num_extra_blocks=1,  # one pretrained block cannot suppress duplicates
    # the classifier starts as the pretraining's features of the products' names
    class_prompts=_base_.data_root + 'annotations/train.json',
    num_queries=38,
    test_cfg=dict(max_per_img=38),
)
