# Tables 1 to 4 of the paper, zero-shot, on any catalogue. Only Table 4 needs boxes.
#   python tools/test.py configs/evaluation/tables.py CHECKPOINT --catalogue my/catalogue.parquet
# Table 3 needs a second catalogue, and is left out without it: photos of several products whose
# boxes name the products (tools/dataset_converters/instance_queries.py). They search the pictures
# of the first catalogue:
#   ... --catalogue my/catalogue.parquet --queries my/queries.parquet
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

test_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(type='ProductImageDataset', catalogue=None, split='test'),  # None: --catalogue
            dict(
                type='ProductImageDataset',
                catalogue='--queries',
                split='queries',
                one_product=False,
            ),
        ],
    )
)
intervals = dict(split='test', num_bootstrap=1000)
test_evaluator = [
    # Table 1: classification, image-text retrieval
    dict(
        type='ZeroShotClassification',
        target='category',
        feature='pred_instance_feat',
        templates=('{}', 'a photo of {}', 'a picture of a product of the kind {}'),
        catalogue=None,
        prefix='table1',
        **intervals,
    ),
    dict(type='ZeroShotClassification', catalogue=None, prefix='table1', **intervals),
    dict(type='ImageTextRetrieval', topk=(1, 5), prefix='table1', **intervals),
    # Table 2: coarse (same category) and fine (same product) retrieval. The product's own text
    # prompts the instance feature and gives some of the answer; the image feature has no text
    *(
        dict(
            type='ProductRetrieval',
            protocol=protocol,
            feature=feature,
            prefix=prefix,
            **intervals,
        )
        for protocol in ('m5', 'fine')
        for prefix, feature in (
            ('table2', 'pred_instance_feat'),
            ('table2_image', 'pred_image_feat'),
        )
    ),
    # Table 3: instance-level retrieval, which should find every product in a photo
    dict(
        type='ProductRetrieval',
        protocol='product1m',
        query_split='queries',
        gallery_split='test',
        prefix='table3',
        num_bootstrap=1000,
    ),
    # Table 4: grounding by text among the boxes of all annotated objects (analysis only), regions
    # of the picture, and boxes cut from the score map. For image prompts see
    # synthetic_grounding.py
    dict(type='ProductGrounding', prefix='table4', **intervals),
    dict(
        type='ProductGrounding',
        candidates=dict(type='RegionProposer'),
        prefix='table4_regions',
        **intervals,
    ),
    dict(
        type='ProductGrounding',
        candidates=dict(type='ScoreMapProposer'),
        prefix='table4_map_boxes',
        **intervals,
    ),
]
