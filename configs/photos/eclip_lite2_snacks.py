# Snacks: name -> box in frames of a video that was kept out of training.
#   python tools/get_towers.py efficientnet-lite2 all-MiniLM-L6-v2
#   S=.../snacks
#   python tools/dataset_converters/coco.py $S/annotations/train.json $S/images \
#       data/snacks/train.parquet --products $S/products.json --pictures both --max-size 512
#   python tools/dataset_converters/coco.py $S/annotations/val.json $S/images \
#       data/snacks/val.parquet --products $S/products.json --max-size 640
#   python tools/cache_features.py configs/photos/eclip_lite2_snacks.py
#   python tools/train.py configs/photos/eclip_lite2_snacks.py
_base_ = ['_base_/adapt.py', '_base_/eclip_lite2_minilm.py']
data_root = 'data/snacks/'
feature_cache = dict(folder='work_dirs/cache_snacks', views=4)
# 384 px: 12 x 12 tokens of the last layer
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
val_dataloader = dict(
    dataset=dict(
        catalogue=data_root + 'val.parquet',
        pipeline=test_pipeline,
        prompt_sources=['crop'],
        prompt_catalogue=data_root + 'train.parquet',
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='ProductGrounding', split='val', score_map=score_map, prefix='val' + by)
    for by, score_map in (('', 'pred_score_map'), ('_image_prompt', 'pred_image_prompt_map'))
]
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='val/right_box', rule='greater'))
