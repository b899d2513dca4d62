# GroceryStore: phone photos of 81 grocery products, classified by their names.
#   python tools/get_towers.py efficientnet-lite2 all-MiniLM-L6-v2
#   python tools/dataset_converters/grocery_store.py .../GroceryStoreDataset data/grocery \
#       --max-size 448
#   python tools/cache_features.py configs/photos/eclip_lite2_grocery.py
#   python tools/train.py configs/photos/eclip_lite2_grocery.py
_base_ = ['../_base_/schedules/adapt.py', '../_base_/models/eclip_lite2_minilm.py']
data_root = 'data/grocery/'
feature_cache = dict(folder='work_dirs/cache_grocery', views=4)
# 256 px: 8 x 8 tokens of the last layer
image_size = 256
texts = dict(type='TokenizeText', tokenizer=None, max_length=48)  # the text tower's tokenizer
train_pipeline = [
    dict(type='LoadProductImages', draft_size=image_size),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.3, 1.0)),
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

model = dict(
    queries=dict(num_queries=20),
    # this config is judged by classification through image-text similarity
    pretext_heads=dict(itc=dict(loss=dict(type='InfoNCELoss', loss_weight=2.0))),
)
train_dataloader = dict(
    sampler=dict(num_passes=80),  # 81 products x 80 passes / 64 = 101 steps an epoch
    dataset=dict(
        catalogue=data_root + 'train.parquet', pipeline=train_pipeline, first_picture='picture'
    ),
)
photos = dict(
    type='ProductImageDataset',
    catalogue=data_root + 'val.parquet',
    split='val',
    pipeline=test_pipeline,
)
val_dataloader = dict(dataset=photos)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        # the second shows what retrieval is without the title as prompt
        datasets=[photos, dict(photos, split='neutral', prompt_text='a product')],
    )
)
classes = dict(
    type='ZeroShotClassification', split='val', prefix='val', catalogue=data_root + 'train.parquet'
)
val_evaluator = [
    classes,
    dict(type='ImageTextRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val_image', feature='pred_image_feat'),
]
test_evaluator = val_evaluator + [
    dict(classes, target='category'),
    dict(type='ProductRetrieval', split='neutral', prefix='neutral'),
    dict(type='ProductRetrieval', split='val', prefix='val', protocol='m5'),
    dict(type='ProductRetrieval', split='neutral', prefix='neutral', protocol='m5'),
    dict(
        type='ProductRetrieval',
        split='val',
        prefix='val_image',
        feature='pred_image_feat',
        protocol='m5',
    ),
]
default_hooks = dict(checkpoint=dict(save_best='val/product_top1', rule='greater'))
custom_hooks = [
    dict(type='ProgressBarHook'),
    dict(type='ClassPromptHook', tokenizer=None, max_length=48),
]
