# Tables 1 to 4 of the paper, zero-shot, on any catalogue (boxes are needed for Table 4 only).
#   python tools/test.py configs/evaluation/tables.py CHECKPOINT --catalogue my/catalogue.parquet
# Table 3 takes a second catalogue and is left out without it: photos of several products, with
# the products' ids at their boxes (tools/dataset_converters/instance_queries.py), which search
# the pictures of the first one:
#   ... --catalogue my/catalogue.parquet --queries my/queries.parquet
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

test_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(type='ProductImageDataset', catalogue=None, split='test'),  # None: --catalogue
            dict(type='ProductImageDataset', catalogue='--queries', split='queries'),
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
    # Table 2: coarse (same category) and fine (same product) retrieval
    dict(type='ProductRetrieval', protocol='m5', prefix='table2', **intervals),
    dict(type='ProductRetrieval', protocol='fine', prefix='table2', **intervals),
    # Table 3: instance-level retrieval, every product in a photo is to be found
    dict(
        type='ProductRetrieval',
        protocol='product1m',
        query_split='queries',
        gallery_split='test',
        prefix='table3',
        num_bootstrap=1000,
    ),
    # Table 4: grounding by text, among the boxes of all annotated objects (analysis only), regions
    # of the picture, parts of the score map; image prompts: see synthetic_grounding.py
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
