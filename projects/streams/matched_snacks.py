# Frames of several snacks search cut-outs, CLIP's first 64 ordered by matching text and picture.
_base_ = '../../configs/photos/clip_lite2_snacks.py'
maps = dict(val='pred_score_map', val_image_prompt='pred_image_prompt_map')
search = dict(protocol='product1m', query_split='queries', gallery_split='gallery')
test_evaluator = [
    dict(
        type='ProductGrounding',
        split='val',
        score_map=score_map,
        prefix=prefix + among,
        candidates=candidates,
    )
    for prefix, score_map in maps.items()
    for among, candidates in (('', 'objects'), ('_regions', dict(type='RegionProposer')))
] + [
    dict(type='MatchedRetrieval', prefix='instance', k_match=64, **search),
    dict(type='ProductRetrieval', prefix='image', feature='pred_image_feat', **search),
]
custom_hooks = [dict(type='ProgressBarHook'), dict(type='MatchingHook')]
