# Photos search photos, CLIP's first 64 ordered by matching text and picture.
_base_ = '../../configs/photos/clip_lite2_grocery.py'
classes = dict(
    type='ZeroShotClassification',
    split='val',
    prefix='val',
    catalogue='data/grocery/train.parquet',
)
test_evaluator = (
    [
        classes,
        dict(classes, target='category'),
        dict(type='TwoStageRetrieval', split='val', prefix='val', k_match=64),
    ]
    + [
        dict(type='MatchedRetrieval', split=split, prefix=split, protocol=protocol, k_match=64)
        for split in ('val', 'neutral')
        for protocol in ('fine', 'm5')
    ]
    + [
        dict(
            type='ProductRetrieval',
            split='val',
            prefix='val_image',
            feature='pred_image_feat',
            protocol=protocol,
        )
        for protocol in ('fine', 'm5')
    ]
)
custom_hooks = [
    dict(type='ProgressBarHook'),
    dict(type='ClassPromptHook', tokenizer=None, max_length=48),
    dict(type='MatchingHook'),
]
