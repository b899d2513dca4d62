# Real photos: 81 grocery products, each with a merchant picture and customers' phone photos.
#   python tools/dataset_converters/grocery_store.py .../GroceryStoreDataset data/grocery \
#       --max-size 144
_base_ = 'eclip_tiny_synthetic.py'

data_root = 'data/grocery/'
image_size = 64
max_length = 32  # tokens; the name comes first in the text
tokenizer = dict(type='CatalogueWordPiece', catalogue=data_root + 'train.parquet', vocab_size=1500)

model = dict(
    # 2,640 photos are few for a ViT from scratch. A RegNet's first convolution halves the picture,
    # and no pooling follows; the stem of a ResNet would leave too small a map at 64 pixels
    image_encoder=dict(
        _delete_=True,
        type='TransformersImageEncoder',
        model_type='regnet',
        config=dict(
            embedding_size=32,
            hidden_sizes=[32, 64, 128],
            depths=[1, 2, 2],
            groups_width=128,
            layer_type='x',
            downsample_in_first_stage=False,
        ),
        conv_padding='replicate',
    ),
    text_encoder=dict(config=dict(vocab_size=1500)),
    # nearly every photo is full of its product, and any part of it identifies the product. Tokens
    # of other photos (num_distractors) teach the decoder where to look; with aligned_init it
    # starts from the similarity of tokens and texts
    decoder=dict(aligned_init=True),
    num_distractors=3,
    pretext_heads=dict(
        # this demo is judged by classification through image-text similarity
        itc=dict(loss=dict(type='InfoNCELoss', loss_weight=2.0)),
        # a weight of 0.2 contracts the map of a full shelf to a spot, often on the shelf's edge
        intra=dict(entropy=dict(loss_weight=0.05)),
    ),
)

train_pipeline = [
    dict(type='LoadProductImages', draft_size=image_size),
    dict(type='RandomResizedCrop', size=image_size, scale=(0.3, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=max_length),
    dict(type='PackProductInputs'),
]
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=image_size),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=max_length),
    dict(type='PackProductInputs'),
]
train_dataloader = dict(
    batch_size=64,
    sampler=dict(num_passes=80),
    dataset=dict(
        catalogue=data_root + 'train.parquet', pipeline=train_pipeline, first_picture='picture'
    ),
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
    dict(
        type='ZeroShotClassification',
        split='val',
        prefix='val',
        catalogue=data_root + 'train.parquet',
    ),
    dict(type='ImageTextRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val'),
    dict(type='ProductRetrieval', split='val', prefix='val_image', feature='pred_image_feat'),
    dict(type='ProductRetrieval', split='val', prefix='val', protocol='m5'),
]
test_evaluator = val_evaluator

# 81 products x 80 passes / 64 = 101 steps an epoch
train_cfg = dict(max_epochs=20, val_interval=4)
# the base's decay, stretched over these epochs, after a longer warm-up
param_scheduler = [
    dict(_base_.param_scheduler[0], end=100),
    dict(_base_.param_scheduler[1], end=20),
]
default_hooks = dict(checkpoint=dict(save_best='val/product_top1'))
custom_hooks = [
    dict(type='ProgressBarHook'),
    dict(type='ClassPromptHook', tokenizer=tokenizer, max_length=max_length),
]
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
