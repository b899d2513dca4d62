# Adapts two pretrained towers to a catalogue of your own, in minutes on two CPU cores. A child
# config needs two lines; eclip_mm/apis/adaptation.py decides and prints the rest:
#   _base_ = 'path/to/configs/adapt.py'    (relative to the child)
#   adapt_to = dict(train='data/mine/train.parquet', val='data/mine/val.parquet')
# Other towers are two more lines: model = dict(image_encoder=dict(...), text_encoder=dict(...)).
_base_ = ['_base_/schedules/adapt.py', '_base_/models/eclip_lite2_minilm.py']
adapt_to = dict(train=None, val=None)
feature_cache = dict(folder='work_dirs/adapt_cache', views=4)
texts = dict(type='TokenizeText', tokenizer=None, max_length=64)  # the text tower's tokenizer
train_pipeline = [
    dict(type='LoadProductImages', draft_size=None),
    dict(type='RandomResizedCrop', size=None, scale=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    texts,
    dict(type='PackProductInputs'),
]
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=None),
    texts,
    dict(type='PackProductInputs'),
]
# None: follows from the catalogue
model = dict(queries=dict(num_queries=None))
train_dataloader = dict(
    batch_size=None, dataset=dict(pipeline=train_pipeline, first_picture='picture')
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
custom_hooks = [
    dict(type='ProgressBarHook'),
    dict(type='ClassPromptHook', tokenizer=None, max_length=64),
]
