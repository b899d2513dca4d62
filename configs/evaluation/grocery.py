# GroceryStore: classification and retrieval of the validation photos among its 81 products.
#   python tools/dataset_converters/grocery_store.py .../GroceryStoreDataset data/grocery \
#       --max-size 144
#   python tools/test.py configs/evaluation/grocery.py CHECKPOINT
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

data_root = 'data/grocery/'
test_dataloader = dict(
    dataset=dict(type='ProductImageDataset', catalogue=data_root + 'val.parquet', split='val')
)
common = dict(split='val', num_bootstrap=1000)
test_evaluator = [
    # classes are all 81 products and 43 categories, including those without a validation photo
    dict(
        type='ZeroShotClassification',
        target='category',
        feature='pred_instance_feat',
        catalogue=data_root + 'train.parquet',
        prefix='val',
        **common,
    ),
    dict(
        type='ZeroShotClassification',
        catalogue=data_root + 'train.parquet',
        prefix='val',
        **common,
    ),
    dict(type='ImageTextRetrieval', topk=(1, 5), prefix='val', **common),
    dict(type='ProductRetrieval', protocol='m5', prefix='val', **common),
    dict(type='ProductRetrieval', protocol='fine', prefix='val', **common),
    # search by picture alone, since the product's text prompts the instance feature
    dict(type='ProductRetrieval', feature='pred_image_feat', prefix='val_image', **common),
]
