# Snacks: name -> box in frames of a video that was kept out of training (Table 4), and frames of
# several products that search cut-outs (Table 3).
#   python tools/get_towers.py efficientnet-lite2 all-MiniLM-L6-v2
#   S=.../snacks; C=tools/dataset_converters/coco.py
#   python $C $S/annotations/train.json $S/images data/snacks/train.parquet \
#       --products $S/products.json --pictures both --max-size 512
#   python $C $S/annotations/val.json $S/images data/snacks/val.parquet \
#       --products $S/products.json --max-size 640
#   python $C $S/annotations/val.json $S/images data/snacks/queries.parquet \
#       --products $S/products.json --rows frames --min-products 2 --max-size 640
#   python tools/cache_features.py configs/photos/eclip_lite2_snacks.py
#   python tools/train.py configs/photos/eclip_lite2_snacks.py
_base_ = ['../_base_/schedules/adapt.py', '../_base_/models/eclip_lite2_minilm.py']
data_root = 'data/snacks/'
feature_cache = dict(folder='work_dirs/cache_snacks', views=4)
# 12 x 12 tokens of the last layer
image_size = 384
texts = dict(type='TokenizeText', tokenizer=None, max_length=32)  # the text tower's tokenizer
train_pipeline = [
    dict(type='LoadProductImages', draft_size=image_size),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    texts,
    dict(type='PackProductInputs'),
]
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=image_size),
    texts,
    dict(type='PackProductInputs'),
]
model = dict(queries=dict(num_queries=19))  # all other names are negatives
train_dataloader = dict(
    batch_size=19,
    sampler=dict(num_passes=100),
    dataset=dict(catalogue=data_root + 'train.parquet', pipeline=train_pipeline),
)
# the prompt is a product's name, or a cut-out of it from the other video
frames = dict(
    type='ProductImageDataset',
    catalogue=data_root + 'val.parquet',
    split='val',
    pipeline=test_pipeline,
    prompt_sources=['crop'],
    prompt_catalogue=data_root + 'train.parquet',
)
val_dataloader = dict(dataset=frames)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            frames,
            dict(
                type='ProductImageDataset',
                catalogue=data_root + 'queries.parquet',
                split='queries',
                pipeline=test_pipeline,
                one_product=False,  # a text names all products of its frame
            ),
            dict(
                type='ProductImageDataset',
                catalogue=data_root + 'train.parquet',
                split='gallery',
                sources=['crop'],
                pipeline=test_pipeline,
            ),
        ],
    )
)
maps = dict(val='pred_score_map', val_image_prompt='pred_image_prompt_map')
val_evaluator = [
    dict(type='ProductGrounding', split='val', score_map=score_map, prefix=prefix)
    for prefix, score_map in maps.items()
]
test_evaluator = [
    dict(
        type='ProductGrounding',
        split='val',
        score_map=score_map,
        prefix=prefix + among,
        candidates=candidates,
    )
    for prefix, score_map in maps.items()
    for among, candidates in (('', 'objects'), ('_regions', dict(type='RegionProposer')))
] + [
    dict(
        type='ProductRetrieval',
        protocol='product1m',
        query_split='queries',
        gallery_split='gallery',
        feature=feature,
        prefix=prefix,
    )
    for prefix, feature in (('instance', 'pred_instance_feat'), ('image', 'pred_image_feat'))
]
default_hooks = dict(checkpoint=dict(save_best='val/right_box', rule='greater'))
