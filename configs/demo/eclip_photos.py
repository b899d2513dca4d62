# The demo: real photos from sample_photos/, 81 grocery products and 19 snacks in one model, from
# pretrained towers of the package index. The last 6 of the image tower's 21 blocks are trained.
_base_ = ['../_base_/schedules/adapt.py', '../_base_/models/eclip_lite2_minilm.py']
sources = ('grocery', 'snacks')
train_catalogues = [f'sample_photos/{source}/train.parquet' for source in sources]
# what tools/demo.py prints, and for which of these data sets it draws score maps
figures = dict(
    snacks=('right_box', 'pointing'),
    snacks_image_prompt=('right_box', 'pointing'),
    grocery=('product_top1', 'product_top5', 'i2t_R@1', 't2i_R@1'),
)
image_size = 320  # 10 x 10 tokens
feature_cache = dict(folder='demo_output/cache', views=4)
texts = dict(type='TokenizeText', tokenizer=None, max_length=48)  # the text tower's tokenizer

model = dict(
    freeze=dict(image=16),  # embeddings and 15 blocks, whose output is cached
    queries=dict(num_queries=20),
)
train_pipeline = [
    dict(type='LoadProductImages', draft_size=image_size),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.4, 1.0)),
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
train_dataloader = dict(
    batch_size=25,
    sampler=dict(num_passes=10),  # 100 products x 10 passes / 25 = 40 steps an epoch
    dataset=dict(catalogue=train_catalogues, pipeline=train_pipeline, first_picture='picture'),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type='ProductImageDataset',
                catalogue='sample_photos/grocery/val.parquet',
                split='grocery',
                pipeline=test_pipeline,
            ),
            dict(
                type='ProductImageDataset',
                catalogue='sample_photos/snacks/val.parquet',
                split='snacks',
                pipeline=test_pipeline,
                prompt_sources=['crop'],
                prompt_catalogue='sample_photos/snacks/train.parquet',
            ),
        ],
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='ProductGrounding', split='snacks', prefix='snacks'),
    dict(
        type='ProductGrounding',
        split='snacks',
        prefix='snacks_image_prompt',
        score_map='pred_image_prompt_map',
    ),
    dict(
        type='ZeroShotClassification',
        split='grocery',
        prefix='grocery',
        catalogue='sample_photos/grocery/train.parquet',
    ),
    dict(type='ImageTextRetrieval', split='grocery', prefix='grocery'),
]
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=4, val_interval=2)
# the base's warm-up, and its decay over these epochs
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=4)]
optim_wrapper = dict(optimizer=dict(lr=5e-4))
default_hooks = dict(
    checkpoint=dict(save_best='snacks/right_box', rule='greater'), logger=dict(interval=20)
)
custom_hooks = [
    dict(type='ProgressBarHook'),
    dict(type='ClassPromptHook', tokenizer=None, max_length=48),
]
