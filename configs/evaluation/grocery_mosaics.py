# GroceryStore: which of the four photos in a mosaic shows the named product? The photos have no
# boxes; the box of a product is its quarter of the mosaic, so that one guess in four is right.
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
