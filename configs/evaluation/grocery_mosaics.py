# GroceryStore: which of four photos put together shows the named product? Nobody drew boxes on
# the photos; the box of a product is its quarter of the mosaic, a guess is right in one of four.
#   python tools/dataset_converters/mosaics.py data/grocery/val.parquet \
#       data/grocery/mosaics.parquet
#   python tools/test.py configs/evaluation/grocery_mosaics.py CHECKPOINT
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

test_dataloader = dict(
    dataset=dict(
        type='ProductImageDataset', catalogue='data/grocery/mosaics.parquet', split='mosaics'
    )
)
test_evaluator = [
    dict(type='ProductGrounding', split='mosaics', prefix='mosaics', num_bootstrap=1000)
]
