# The generated catalogue: 64 products in photos of three. These commands make data/synthetic and
# its COCO files:
#   python tools/demo.py  # or tools/dataset_converters/synthetic.py
#   cd data/synthetic
#   for split in train photos; do
#       python TOOLS/dataset_converters/catalogue_boxes.py $split.parquet $split.json frames \
#           --products train.parquet
#   done
_base_ = 'coco_products.py'
data_root = 'data/synthetic/'
scale = (80, 80)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(img='frames/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    dataset=dict(
        data_root=data_root,
        ann_file='photos.json',
        data_prefix=dict(img='frames/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'photos.json')
test_evaluator = val_evaluator
