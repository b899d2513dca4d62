# Tables 1, 2, 4, 5 and 6 at the scale of two CPU cores: the demo's model and generated catalogue.
#   python tools/compare.py configs/comparison/tiny.py --jobs 2 --report docs/reproduction.md
title = 'Reproduction at small scale'
seeds = [0, 1, 2]
_ablation = '../ablation/tiny/'
runs = {
    'clip': _ablation + 'clip_tiny.py',
    'eclip': _ablation + 'eclip_tiny.py',
    'no-inter': _ablation + 'eclip_tiny_no-inter_no-itm.py',
    'no-intra': _ablation + 'eclip_tiny_no-intra.py',
    'prompts-text': _ablation + 'eclip_tiny_prompts-text.py',
    'prompts-image': _ablation + 'eclip_tiny_prompts-image.py',
    'no-entropy': _ablation + 'eclip_tiny_no-entropy.py',
    'index-first': _ablation + 'eclip_tiny_index-first.py',
}
variants = {
    f'negatives-{use}': dict(of='eclip', cfg_options={'model.negative_queries.use': use})
    for use in ('text', 'ema', 'gaussian')
}
_splits = ('photos', 'products')
cfg_options = {
    'test_evaluator': [
        dict(type='ProductRetrieval', protocol=protocol, split=split, prefix=split)
        for split in _splits
        for protocol in ('fine', 'm5')
    ]
    + [
        dict(type=metric, split=split, prefix=split)
        for split in _splits
        for metric in ('ImageTextRetrieval', 'ProductGrounding')
    ]
}

# photos: new photos of trained products; products: products that were never trained on
tables = [
    dict(
        title='Table 1, right: image-text retrieval',
        columns={
            'photos/i2t_R@1': 'image to text R@1',
            'photos/t2i_R@1': 'text to image R@1',
            'products/i2t_R@1': 'new products: image to text R@1',
            'products/t2i_R@1': 'new products: text to image R@1',
        },
        rows=[
            dict(run='clip', label='CLIP', paper=[52.6, 58.7, None, None]),
            dict(run='eclip', label='ECLIP', paper=[53.8, 59.9, None, None]),
        ],
    ),
    dict(
        title='Table 2: product retrieval, coarse (m5) and fine',
        columns={
            'photos/m5_mAP@1': 'coarse mAP@1',
            'photos/m5_mAP@5': 'coarse mAP@5',
            'photos/fine_R@1': 'fine R@1',
            'photos/fine_R@5': 'fine R@5',
            'photos/fine_mAP@5': 'fine mAP@5',
            'products/fine_R@1': 'new products: fine R@1',
        },
        rows=[
            dict(run='clip', label='CLIP', paper=[68.2, 73.2, 34.8, 54.2, 40.2, None]),
            dict(run='eclip', label='ECLIP', paper=[69.6, 74.9, 44.3, 63.4, 48.6, None]),
        ],
    ),
    dict(
        title='Table 4, left: grounding, candidates are the boxes of all objects (analysis only)',
        columns={
            'photos/right_box': 'right box',
            'photos/pointing': 'pointing game',
            'products/right_box': 'new products: right box',
            'products/pointing': 'new products: pointing game',
        },
        rows=[
            dict(run='clip', label='CLIP', paper=[80.9, None, None, None]),
            dict(run='eclip', label='ECLIP', paper=[91.2, None, None, None]),
        ],
    ),
    dict(
        title='Table 5: pretext tasks, coarse retrieval',
        columns={
            'photos/m5_mAP@1': 'mAP@1',
            'photos/m5_mAP@5': 'mAP@5',
            'photos/fine_R@1': 'fine R@1',
            'photos/right_box': 'right box',
        },
        rows=[
            dict(run='clip', label='neither (CLIP)', paper=[61.6, 65.2, None, None]),
            dict(run='no-intra', label='inter alone', paper=[64.4, 68.7, None, None]),
            dict(run='no-inter', label='intra alone', paper=[62.2, 66.5, None, None]),
            dict(run='eclip', label='both', paper=[65.2, 69.3, None, None]),
        ],
    ),
    dict(
        title='Table 6: negative queries at the transfer stage',
        columns={
            'photos/m5_mAP@1': 'coarse mAP@1',
            'photos/fine_R@1': 'fine R@1',
            'photos/fine_mAP@10': 'fine mAP@10',
            'photos/right_box': 'right box',
            'photos/pointing': 'pointing game',
        },
        rows=[
            dict(run='negatives-text', label='text of other products'),
            dict(run='negatives-ema', label='EMA update'),
            dict(run='negatives-gaussian', label='random sampling'),
        ],
    ),
    dict(
        title='Prompts, entropy term, place of the positive query',
        columns={
            'photos/m5_mAP@1': 'coarse mAP@1',
            'photos/fine_R@1': 'fine R@1',
            'photos/right_box': 'right box',
            'photos/pointing': 'pointing game',
        },
        rows=[
            dict(run='eclip', label='ECLIP: mixed prompts, entropy term, random place'),
            dict(run='prompts-text', label='text prompts only'),
            dict(run='prompts-image', label='image prompts only'),
            dict(run='no-entropy', label='no entropy term'),
            dict(run='index-first', label='positive query always first'),
        ],
    ),
]
claims = [
    dict(claim='eclip > clip on photos/fine_R@1', paper='Table 2: 44.3 > 34.8'),
    dict(claim='eclip > clip on products/fine_R@1', paper='Table 2: 44.3 > 34.8'),
    dict(claim='eclip > clip on photos/m5_mAP@1', paper='Table 2: 69.6 > 68.2'),
    dict(claim='eclip > clip on photos/right_box', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > clip on products/right_box', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > no-intra on photos/m5_mAP@1', paper='Table 5: 65.2 > 64.4'),
    dict(claim='eclip > no-inter on photos/m5_mAP@1', paper='Table 5: 65.2 > 62.2'),
    dict(claim='no-intra > no-inter on photos/m5_mAP@1', paper='Table 5: 64.4 > 62.2'),
    dict(
        claim='negatives-text ~ negatives-gaussian within 2 on photos/fine_R@1',
        paper='Table 6: mAP@10 84.9, 86.8: "little to no difference"',
    ),
    dict(
        claim='negatives-ema ~ negatives-gaussian within 2 on photos/fine_R@1',
        paper='Table 6: mAP@10 85.1, 86.8: "little to no difference"',
    ),
]
bars = dict(
    figures=[
        'photos/m5_mAP@1',
        'photos/fine_R@1',
        'photos/right_box',
        'products/m5_mAP@1',
        'products/fine_R@1',
        'products/right_box',
    ]
)
