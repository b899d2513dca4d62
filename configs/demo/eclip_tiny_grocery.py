# Real photos: 81 grocery products, merchant picture and customers' phone photos.
#   python tools/dataset_converters/grocery_store.py .../GroceryStoreDataset data/grocery
_base_ = 'eclip_tiny_synthetic.py'

data_root = 'data/grocery/'
image_size = 96
tokenizer = dict(
    type='CatalogueWordPiece', catalogue=data_root + 'train.parquet', vocab_size=1500)

model = dict(
    image_encoder=dict(config=dict(image_size=image_size, patch_size=12)),
    text_encoder=dict(config=dict(vocab_size=1500)))

train_pipeline = [
    dict(type='LoadProductImages', draft_size=image_size),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.3, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=55),
    dict(type='PackProductInputs'),
]
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=image_size),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=55),
    dict(type='PackProductInputs'),
]
train_dataloader = dict(
    batch_size=64,
    sampler=dict(num_passes=80),
    dataset=dict(catalogue=data_root + 'train.parquet', pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='ProductImageDataset', catalogue=data_root + 'val.parquet',
        split='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='ZeroShotClassification', split='val', prefix='val',
         catalogue=data_root + 'train.parquet'),
    dict(type='ImageTextRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val_image', feature='pred_image_feat'),
    dict(type='ProductRetrieval', split='val', prefix='val', protocol='m5'),
]
test_evaluator = val_evaluator

# 81 products x 80 passes / 64 = 101 steps an epoch
train_cfg = dict(max_epochs=20, val_interval=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=1.0, eta_min=1e-5, by_epoch=True, begin=0, end=20,
         convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(save_best='val/product_top1'))
custom_hooks = [
    dict(type='TeacherUpdateHook'),
    dict(type='StepSeedHook'),
    dict(type='PlainCheckpointHook'),
    dict(type='ProgressBarHook'),
    dict(type='ClassPromptHook', tokenizer=tokenizer),
]
