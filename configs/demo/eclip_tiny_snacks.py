# Real video frames: 19 snacks, several of them in every frame. Training uses frames and cut-outs
# of one video; configs/evaluation/snacks_*.py use the other.
#   S=.../snacks
#   python tools/dataset_converters/coco.py $S/annotations/train.json $S/images \
#       data/snacks/train.parquet --products $S/products.json --pictures both --max-size 192
#   python tools/dataset_converters/coco.py $S/annotations/val.json $S/images \
#       data/snacks/val.parquet --products $S/products.json --max-size 320
_base_ = 'eclip_tiny_synthetic.py'

data_root = 'data/snacks/'
image_size = 96
tokenizer = dict(type='CatalogueWordPiece', catalogue=data_root + 'train.parquet', vocab_size=300)

model = dict(
    # 12 px a patch give 64 patches, as many as in the base, of pictures with more detail
    image_encoder=dict(config=dict(image_size=image_size, patch_size=12)),
    text_encoder=dict(config=dict(vocab_size=300)),
    queries=dict(num_queries=12),  # among 19 products there are few negatives
)

train_pipeline = [
    dict(type='LoadProductImages', draft_size=image_size),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=16),
    dict(type='PackProductInputs'),
]
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=image_size),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=16),
    dict(type='PackProductInputs'),
]
train_dataloader = dict(
    sampler=dict(num_passes=253),
    dataset=dict(catalogue=data_root + 'train.parquet', pipeline=train_pipeline),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ProductImageDataset',
        catalogue=data_root + 'val.parquet',
        split='val',
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type=metric, split='val', prefix='val')
    for metric in ('ImageTextRetrieval', 'ProductGrounding')
]
test_evaluator = val_evaluator

# 19 products x 253 passes / 48 = 100 steps an epoch
train_cfg = dict(max_epochs=12, val_interval=2)
# the base's warm-up, and its decay stretched over these epochs
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=12)]
default_hooks = dict(checkpoint=dict(save_best='val/right_box'))
