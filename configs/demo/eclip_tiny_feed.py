# A small shop's export on a CPU: a few steps that show that its catalogue can be trained on.
#   python tools/dataset_converters/feed.py export.csv data/feed/train.parquet
# configs/eclip_vitb16.py is the model for real use.
_base_ = 'eclip_tiny_synthetic.py'

catalogue = 'data/feed/train.parquet'
image_size = 64
tokenizer = dict(type='CatalogueWordPiece', catalogue=catalogue, vocab_size=400)

model = dict(queries=dict(num_queries=4))  # each needs another product of the batch

train_pipeline = [
    dict(type='LoadProductImages', draft_size=image_size),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.8, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=55),
    dict(type='PackProductInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(num_passes=1),
    dataset=dict(catalogue=catalogue, pipeline=train_pipeline),
)
# a handful of products cannot be divided for a validation that would say anything
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None

train_cfg = dict(max_epochs=4)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=4),
    dict(_base_.param_scheduler[1], end=4),
]
default_hooks = dict(
    checkpoint=dict(interval=4, save_best=None, rule=None),
    logger=dict(interval=1),
)
custom_hooks = [dict(type='ProgressBarHook')]
