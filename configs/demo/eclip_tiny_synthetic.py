# The demo: a 64-pixel ECLIP on the generated catalogue, from scratch in minutes on 2 CPU cores.
_base_ = '../_base_/default_runtime.py'

data_root = 'data/synthetic/'
# tools/demo.py generates 10 shapes x 8 colours, with two other products in every photo
synthetic = dict(
    num_products=64,
    num_heldout_products=16,
    merchant=2,
    comment=10,
    video=6,
    heldout_photos=6,
    attributes=(),
    num_shapes=10,
    num_colours=8,
    num_others=(2, 2),
    object_scale=(0.32, 0.46),
    image_size=80,
    seed=0,
)
embed_dims = 128
image_size = 64

# 0.02, the default range, suits widths of 768; with it, narrow towers learn slowly from scratch
tower = dict(hidden_size=embed_dims, num_attention_heads=4, initializer_range=0.08)
model = dict(
    type='ECLIP',
    embed_dims=embed_dims,
    # a ViT with register tokens: without them it stores information about the whole picture in
    # patches of the background, and the decoder looks there
    image_encoder=dict(
        type='TransformersImageEncoder',
        model_type='dinov2_with_registers',
        config=dict(
            **tower,
            num_hidden_layers=3,
            mlp_ratio=4,
            num_register_tokens=8,
            image_size=image_size,
            patch_size=8,
        ),
    ),
    text_encoder=dict(
        type='TransformersTextEncoder',
        model_type='bert',
        config=dict(
            **tower,
            intermediate_size=4 * embed_dims,
            num_hidden_layers=2,
            vocab_size=400,
            max_position_embeddings=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
    ),
    queries=dict(type='InstanceQueries', num_queries=20),
    decoder=dict(type='InstanceDecoder', num_blocks=1, num_heads=4),
    prompts=dict(type='PromptSampler', image_prob=0.5, positive_index='random'),
    # at evaluation, type=CatalogueNegatives takes other products that the picture may show
    negative_queries=dict(type='TextNegatives'),
    momentum=dict(type='MomentumTeacher', momentum=0.99),
    pretext_heads=dict(
        itc=dict(type='ITCHead'),
        inter=dict(type='InterProductHead'),
        itm=dict(type='ITMHead'),
        intra=dict(
            type='IntraProductHead',
            entropy=dict(type='AssignmentEntropyLoss', loss_weight=0.2, reduce_negatives='mean'),
        ),
    ),
    score_map_blocks='mean',
)

tokenizer = dict(type='CatalogueWordPiece', catalogue=data_root + 'train.parquet', vocab_size=400)
train_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.8, 1.0)),
    dict(type='RandomFlip', prob=0.5),
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
    batch_size=48,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='ResumableSampler', shuffle=True, num_passes=75),
    collate_fn=dict(type='collate_products'),
    dataset=dict(
        type='ProductDataset', catalogue=data_root + 'train.parquet', pipeline=train_pipeline
    ),
)
# photos kept out of training: of trained products, and of products never trained on
splits = ('photos', 'products')
val_dataloader = dict(
    batch_size=100,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_products'),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='ProductImageDataset',
                catalogue=data_root + f'{split}.parquet',
                split=split,
                sources=['comment', 'video'],
                pipeline=test_pipeline,
            )
            for split in splits
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type=metric, split=split, prefix=split)
    for split in splits
    for metric in ('ImageTextRetrieval', 'ProductRetrieval', 'ProductGrounding')
]
test_evaluator = val_evaluator

# 64 products x 75 passes / 48 = 100 steps an epoch
train_cfg = dict(type='ResumableTrainLoop', max_epochs=8, val_interval=2)
val_cfg = dict(type='ProductValLoop')
test_cfg = dict(type='ProductTestLoop')
optim_wrapper = dict(
    constructor='PretrainOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=1e-5,
        by_epoch=True,
        begin=0,
        end=8,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    checkpoint=dict(by_epoch=True, interval=1, save_best='photos/right_box', rule='greater'),
    logger=dict(interval=20),
)
custom_hooks = [dict(type='ProgressBarHook'), dict(type='PictureHook')]
