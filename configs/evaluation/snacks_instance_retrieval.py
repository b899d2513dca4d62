# Table 3: frames with several products search single-product cut-outs of the other video.
#   S=.../snacks
#   python tools/dataset_converters/coco.py $S/annotations/val.json $S/images \
#       data/snacks/queries.parquet --products $S/products.json --rows frames --min-products 2 \
#       --max-size 320
#   python tools/dataset_converters/coco.py $S/annotations/train.json $S/images \
#       data/snacks/train.parquet --products $S/products.json --pictures both --max-size 192
#   python tools/test.py configs/evaluation/snacks_instance_retrieval.py CHECKPOINT
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

data_root = 'data/snacks/'
test_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='ProductImageDataset',
                catalogue=data_root + 'queries.parquet',
                split='queries',
                one_product=False,
            ),
            dict(
                type='ProductImageDataset',
                catalogue=data_root + 'train.parquet',
                split='gallery',
                sources=['crop'],
            ),
        ],
    )
)
test_evaluator = [
    dict(
        type='ProductRetrieval',
        protocol='product1m',
        query_split='queries',
        gallery_split='gallery',
        feature=feature,
        prefix=prefix,
        num_bootstrap=1000,
    )
    for prefix, feature in (('instance', 'pred_instance_feat'), ('image', 'pred_image_feat'))
]
