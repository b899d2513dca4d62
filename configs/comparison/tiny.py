# Tables 1 to 6 without detection, on two CPU cores: the demo's model on the generated catalogue.
#   python tools/compare.py configs/comparison/tiny.py --jobs 2 --report docs/reproduction.md
title = 'Reproduction at small scale'
notes = 'tiny_notes.md'
seeds = [0, 1, 2]
_ablation = '../ablation/tiny/'
runs = {
    'clip': _ablation + 'clip_tiny.py',
    'filip': '../../projects/filip/filip_tiny_synthetic.py',
    'filip-itc': '../../projects/filip/filip_tiny_itc_synthetic.py',
    'eclip': _ablation + 'eclip_tiny.py',
    'no-inter': _ablation + 'eclip_tiny_no-inter_no-itm.py',
    'no-intra': _ablation + 'eclip_tiny_no-intra.py',
    'prompts-text': _ablation + 'eclip_tiny_prompts-text.py',
    'prompts-image': _ablation + 'eclip_tiny_prompts-image.py',
    'no-entropy': _ablation + 'eclip_tiny_no-entropy.py',
    'index-first': _ablation + 'eclip_tiny_index-first.py',
}
# every run takes 500 steps of 48 products
cfg_options = {'train_cfg.max_epochs': 5, 'param_scheduler.1.end': 5}
variants = {
    f'negatives-{use}': dict(of='eclip', cfg_options={'model.negative_queries.use': use})
    for use in ('text', 'ema', 'gaussian', 'catalogue')
}
# this config also computes bootstrap intervals over queries, which the tables leave out
evaluation = '../evaluation/synthetic.py'

# `photos` are new photos of trained products, `products` are products never trained on
tables = [
    dict(
        title='Table 1: classification by category, image-text retrieval',
        columns={
            'photos/category_top1': 'Acc@1',
            'products/category_top1': 'new products: Acc@1',
            'photos/i2t_R@1': 'image to text R@1',
            'photos/t2i_R@1': 'text to image R@1',
            'products/i2t_R@1': 'new products: image to text R@1',
            'products/t2i_R@1': 'new products: text to image R@1',
        },
        rows=[
            dict(run='clip', label='CLIP', paper=[37.2, None, 52.6, 58.7, None, None]),
            dict(run='filip', label='FILIP', paper=[37.1, None, 52.3, 58.0, None, None]),
            dict(run='filip-itc', label="FILIP with CLIP's contrast"),
            dict(run='eclip', label='ECLIP', paper=[43.8, None, 53.8, 59.9, None, None]),
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
            dict(run='filip', label='FILIP', paper=[67.8, 73.0, 34.6, 53.9, 40.1, None]),
            dict(run='filip-itc', label="FILIP with CLIP's contrast"),
            dict(run='eclip', label='ECLIP', paper=[69.6, 74.9, 44.3, 63.4, 48.6, None]),
        ],
    ),
    dict(
        title='Beside Table 2: fine R@1 of new photos by picture, title and both',
        columns={
            'photos/fine_R@1': 'as in Table 2',
            'photos_image/fine_R@1': 'picture',
            'photos_text/fine_R@1': 'title',
            'photos_image_text/fine_R@1': 'picture + title',
            'products_image/fine_R@1': 'new products: picture',
        },
        rows=[
            dict(run='clip', label='CLIP'),
            dict(run='filip', label='FILIP'),
            dict(run='filip-itc', label="FILIP with CLIP's contrast"),
            dict(run='eclip', label='ECLIP'),
        ],
    ),
    dict(
        title='Table 3: instance-level retrieval, photos of three products search single ones',
        columns={'instances/product1m_mAP@10': 'mAP@10', 'instances/product1m_mAR@10': 'mAR@10'},
        rows=[
            dict(run='clip', label='CLIP', paper=[86.6, 54.4]),
            dict(run='filip', label='FILIP', paper=[86.9, 54.6]),
            dict(run='filip-itc', label="FILIP with CLIP's contrast"),
            dict(run='eclip', label='ECLIP', paper=[89.6, 55.9]),
        ],
    ),
    dict(
        title='Table 4, left: grounding among regions; right box among all objects, analysis only',
        columns={
            'photos_regions/acc@0.5': 'Acc@0.5',
            'photos_regions/acc@0.7': 'Acc@0.7',
            'photos/right_box': 'right box',
            'photos/pointing': 'pointing game',
            'products_regions/acc@0.5': 'new products: Acc@0.5',
            'products/right_box': 'new products: right box',
        },
        rows=[
            dict(run='clip', label='CLIP', paper=[80.9, 75.2, None, None, None, None]),
            dict(run='filip', label='FILIP', paper=[81.3, 75.6, None, None, None, None]),
            dict(run='filip-itc', label="FILIP with CLIP's contrast"),
            dict(run='eclip', label='ECLIP', paper=[91.2, 89.6, None, None, None, None]),
        ],
    ),
    dict(
        title='Table 5: pretext tasks, coarse retrieval',
        columns={
            'photos/m5_mAP@1': 'mAP@1',
            'photos/m5_mAP@5': 'mAP@5',
            'products/fine_R@1': 'new products: fine R@1',
            'photos/right_box': 'right box',
            'photos/pointing': 'pointing game',
        },
        rows=[
            dict(run='clip', label='neither (CLIP)', paper=[61.6, 65.2, None, None, None]),
            dict(run='no-intra', label='inter alone', paper=[64.4, 68.7, None, None, None]),
            dict(run='no-inter', label='intra alone', paper=[62.2, 66.5, None, None, None]),
            dict(run='eclip', label='both', paper=[65.2, 69.3, None, None, None]),
        ],
    ),
    dict(
        title='Table 6: negative queries at the transfer stage',
        columns={
            'instances/product1m_mAP@10': 'mAP@10',
            'instances/product1m_mAR@10': 'mAR@10',
            'photos/m5_mAP@1': 'coarse mAP@1',
            'photos/fine_R@1': 'fine R@1',
            'photos/right_box': 'right box',
            'photos/pointing': 'pointing game',
        },
        rows=[
            dict(
                run='negatives-text',
                label='negatives: text of other products',
                paper=[84.9, 52.5, None, None, None, None],
            ),
            dict(
                run='negatives-ema',
                label='negatives: EMA update',
                paper=[85.1, 53.3, None, None, None, None],
            ),
            dict(
                run='negatives-gaussian',
                label='negatives: random sampling',
                paper=[86.8, 54.1, None, None, None, None],
            ),
            dict(
                run='negatives-catalogue',
                label='negatives: names of the catalogue most like the picture',
            ),
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
    dict(claim='eclip > clip on photos/category_top1', paper='Table 1: 43.8 > 37.2'),
    dict(claim='eclip > clip on photos/fine_R@1', paper='Table 2: 44.3 > 34.8'),
    dict(claim='eclip > clip on products/fine_R@1', paper='Table 2: 44.3 > 34.8'),
    dict(claim='eclip > clip on photos/m5_mAP@1', paper='Table 2: 69.6 > 68.2'),
    dict(claim='eclip > clip on photos/right_box', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > clip on products/right_box', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > clip on photos_regions/acc@0.5', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > filip on photos/fine_R@1', paper='Table 2: 44.3 > 34.6'),
    dict(claim='eclip > filip-itc on photos/fine_R@1', paper='Table 2: 44.3 > 34.6'),
    dict(claim='eclip > filip on products/fine_R@1', paper='Table 2: 44.3 > 34.6'),
    dict(claim='eclip > filip on photos_regions/acc@0.5', paper='Table 4: 91.2 > 81.3'),
    dict(claim='eclip > filip on photos/right_box', paper='Table 4: 91.2 > 81.3'),
    dict(claim='eclip > filip-itc on photos/right_box', paper='Table 4: 91.2 > 81.3'),
    dict(claim='eclip > no-intra on photos/m5_mAP@1', paper='Table 5: 65.2 > 64.4'),
    dict(claim='eclip > no-inter on photos/m5_mAP@1', paper='Table 5: 65.2 > 62.2'),
    dict(claim='eclip > no-intra on photos_regions/acc@0.5', paper='none; the purpose of the map'),
    dict(claim='eclip > no-inter on photos_regions/acc@0.5', paper='none; the purpose of the map'),
    dict(claim='eclip > no-intra on photos/pointing', paper='none; Eq. 9, 10 sharpen the map'),
    dict(claim='eclip > no-inter on photos/pointing', paper='none'),
    dict(claim='no-intra > no-inter on photos/m5_mAP@1', paper='Table 5: 64.4 > 62.2'),
    dict(claim='eclip > clip on instances/product1m_mAP@10', paper='Table 3: 89.6 > 86.6'),
    dict(
        claim='negatives-text ~ negatives-gaussian within 2 on instances/product1m_mAP@10',
        paper='Table 6: mAP@10 84.9, 86.8: "little to no difference"',
    ),
    dict(
        claim='negatives-ema ~ negatives-gaussian within 2 on instances/product1m_mAP@10',
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
