# Every table on the generated catalogue, on photos that were kept out of training: of trained
# products (`photos`) and of products never trained on (`products`).
#   python tools/test.py configs/evaluation/synthetic.py CHECKPOINT
# tools/demo.py generates the catalogue, as configs/demo/eclip_tiny_synthetic.py describes it.
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

data_root = 'data/synthetic/'
# split -> catalogue that lists its classes: the trained products, or the 16 held-out ones
classes = dict(photos=data_root + 'train.parquet', products=data_root + 'products.parquet')
test_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='ProductImageDataset',
                catalogue=data_root + f'{split}.parquet',
                split=split,
                sources=['comment', 'video'],
            )
            for split in classes
        ]
        + [
            # Table 3: photos of three products search the trained products' own pictures
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
                sources=['merchant'],
            ),
        ],
    )
)
test_evaluator = [
    dict(split=split, prefix=split, num_bootstrap=1000, **metric)
    for split in classes
    for metric in (
        dict(
            type='ZeroShotClassification',
            target='category',
            feature='pred_instance_feat',
            catalogue=classes[split],
        ),
        dict(type='ZeroShotClassification', catalogue=classes[split]),
        dict(type='ImageTextRetrieval', topk=(1, 5)),
        dict(type='ProductRetrieval', protocol='m5'),
        dict(type='ProductRetrieval', protocol='fine'),
        dict(type='ProductGrounding'),
    )
]
# The title prompts the instance feature. These metrics compare it with what a model without
# decoder has: the picture alone, the title alone, and both. The last one is grounding among
# proposed boxes.
test_evaluator += [
    dict(split=split, prefix=f'{split}_{name}', num_bootstrap=1000, **metric)
    for split in classes
    for name, metric in (
        ('image', dict(type='ProductRetrieval', feature='pred_image_feat')),
        ('text', dict(type='ProductRetrieval', feature='pred_text_feat')),
        (
            'image_text',
            dict(type='ProductRetrieval', feature=['pred_image_feat', 'pred_text_feat']),
        ),
        ('regions', dict(type='ProductGrounding', candidates=dict(type='RegionProposer'))),
    )
]
test_evaluator += [
    dict(
        type='ProductRetrieval',
        protocol='product1m',
        query_split='queries',
        gallery_split='gallery',
        topk=(10,),
        prefix='instances',
        num_bootstrap=1000,
    )
]
