# Snacks: a product's name -> its boxes, in the frames of a video that no training step saw.
#   python tools/dataset_converters/coco.py .../snacks/annotations/val.json .../snacks/images \
#       data/snacks/val.parquet --products .../snacks/products.json --max-size 320
#   python tools/test.py configs/evaluation/snacks_grounding.py CHECKPOINT
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

test_dataloader = dict(
    dataset=dict(type='ProductImageDataset', catalogue='data/snacks/val.parquet', split='val')
)
test_evaluator = [dict(type='ProductGrounding', split='val', prefix='val', num_bootstrap=1000)]
