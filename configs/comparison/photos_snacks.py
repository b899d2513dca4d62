# Tables 3 to 6 on real video frames from pretrained towers, both frozen.
#   python tools/cache_features.py configs/photos/eclip_lite2_snacks.py --jobs 2 --num-workers 0
#   C=configs/comparison; python tools/compare.py $C/photos_snacks.py $C/photos_grocery.py \
#       --jobs 2 --report docs/reproduction_photos.md
title = 'Snacks: Tables 3 to 6'
notes = 'photos_snacks_notes.md'
seeds = [0, 1, 2, 3, 4]
_photos = '../photos/'
_eclip = _photos + 'eclip_lite2_snacks.py'
runs = {
    'clip': _photos + 'clip_lite2_snacks.py',
    'eclip': _eclip,
    'no-inter': dict(
        config=_eclip,
        cfg_options={'model.pretext_heads.inter': None, 'model.pretext_heads.itm': None},
    ),
    'no-intra': dict(config=_eclip, cfg_options={'model.pretext_heads.intra': None}),
}
variants = {
    f'negatives-{use}': dict(of='eclip', cfg_options={'model.negative_queries.use': use})
    for use in ('text', 'gaussian')
}
_grounding = {
    'val/right_box': 'right box',
    'val/pointing': 'peak in the right box',
    'val_regions/acc@0.5': 'Acc@0.5 among regions',
    'val_image_prompt/right_box': 'image prompt: right box',
    'val_image_prompt/pointing': 'image prompt: peak',
}
tables = [
    dict(
        title='Table 3: frames of several snacks search cut-outs of the other video',
        columns={'instance/product1m_mAP@10': 'mAP@10', 'instance/product1m_mAR@10': 'mAR@10'},
        rows=[
            dict(run='clip', label='CLIP', paper=[86.6, 54.4]),
            dict(run='eclip', label='ECLIP', paper=[89.6, 55.9]),
        ],
    ),
    dict(
        title='Table 4, left: grounding; the right box is chosen among the annotated objects',
        columns=_grounding,
        rows=[
            dict(run='clip', label='CLIP', paper=[None, None, 80.9, None, None]),
            dict(run='eclip', label='ECLIP', paper=[None, None, 91.2, None, None]),
        ],
    ),
    dict(
        title='Table 5: pretext tasks',
        columns=_grounding,
        rows=[
            dict(run='clip', label='neither (CLIP)'),
            dict(run='no-intra', label='inter alone'),
            dict(run='no-inter', label='intra alone'),
            dict(run='eclip', label='both'),
        ],
    ),
    dict(
        title='Table 6: negative queries at the transfer stage',
        columns={**_grounding, 'instance/product1m_mAP@10': 'mAP@10'},
        rows=[
            dict(run='negatives-text', label='text of products', paper=[None] * 5 + [84.9]),
            dict(run='negatives-gaussian', label='random sampling', paper=[None] * 5 + [86.8]),
            dict(run='eclip', label='names of the catalogue'),
        ],
    ),
]
claims = [
    dict(claim='eclip > clip on val/right_box', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > clip on val/pointing', paper='none'),
    dict(claim='eclip > clip on val_regions/acc@0.5', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > clip on val_image_prompt/right_box', paper='Table 4, image prompt'),
    dict(claim='eclip > clip on instance/product1m_mAP@10', paper='Table 3: 89.6 > 86.6'),
    dict(claim='eclip > no-intra on val/right_box', paper='none; Table 5 is of retrieval'),
    dict(claim='eclip > no-inter on val/right_box', paper='none; Table 5 is of retrieval'),
]
