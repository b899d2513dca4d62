# A catalogue (README, "Your own catalogue") at the paper's 224 px and 55 tokens.
catalogue = 'data/catalogue/train.parquet'
val_catalogue = 'data/catalogue/val.parquet'
# that of model.text_encoder.pretrained; with pretrained=None the words of the training catalogue
tokenizer = None

train_pipeline = [
    dict(type='LoadCroppedImages', size=224, scale=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=55),
    dict(type='PackProductInputs'),
]
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=224),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=55),
    dict(type='PackProductInputs'),
]

train_dataloader = dict(
    batch_size=200,  # x 32 GPUs = 6,400; on one GPU: 6400 and model.chunk_size=200
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='ResumableSampler', shuffle=True),
    collate_fn=dict(type='collate_products'),
    dataset=dict(type='ProductDataset', catalogue=catalogue, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_products'),
    dataset=dict(
        type='ProductImageDataset', catalogue=val_catalogue, split='val', pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='ImageTextRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val_image', feature='pred_image_feat'),
    dict(type='ProductGrounding', split='val', prefix='val'),
]
test_evaluator = val_evaluator
