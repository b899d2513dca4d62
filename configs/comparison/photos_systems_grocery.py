# Every system that the paper compares, on photographs, from the same frozen and cached towers:
# Tables 1 and 2.
#   python tools/cache_features.py configs/photos/eclip_lite2_grocery.py --jobs 2 --num-workers 0
#   C=configs/comparison; PYTHONPATH=. python tools/compare.py $C/photos_systems_snacks.py \
#       $C/photos_systems_grocery.py --jobs 2
# `--only` and `--seeds` choose a part.
title = 'All compared systems: Tables 1 and 2'
seeds = [0, 1, 2, 3, 4]
_photos = '../photos/'
_projects = '../../projects/'
_systems = {
    'clip': 'CLIP',
    'filip': 'FILIP',
    'declip': 'DeCLIP',
    'albef': 'ALBEF',
    'blip': 'BLIP',
    'capture': 'CAPTURE',
    'scale': 'SCALE',
    'vilbert': 'ViLBERT, first 64 of CLIP matched',
    'uniter': 'UNITER, first 64 of CLIP matched',
    'eclip': 'ECLIP',
}
runs = {
    name: (_photos if name in ('clip', 'eclip') else f'{_projects}{name}/')
    + f'{name}_lite2_grocery.py'
    for name in _systems
}
# the paper's figures; None where it has none
_table1 = {
    'clip': [37.2, 52.6, 58.7],
    'filip': [37.1, 52.3, 58.0],
    'declip': [37.8, 53.1, 58.8],
    'albef': [38.5, 52.9, 58.2],
    'blip': [39.3, 53.3, 59.1],
    'eclip': [43.8, 53.8, 59.9],
}
_table2 = {
    'clip': [68.2, 34.8],
    'filip': [67.8, 34.6],
    'declip': [68.5, 35.3],
    'albef': [68.7, 35.1],
    'blip': [69.1, 35.6],
    'vilbert': [58.6, None],
    'scale': [59.8, None],
    'uniter': [58.9, None],
    'eclip': [69.6, 44.3],
}
tables = [
    dict(
        title='Table 1: classification into 43 categories and 81 products, image-text retrieval',
        columns={
            'val/category_top1': 'categories: Acc@1',
            'val/i2t_R@1': 'image to text R@1',
            'val/t2i_R@1': 'text to image R@1',
            'val/product_top1': 'products: Acc@1',
            'val/product_top5': 'products: Acc@5',
        },
        rows=[
            dict(
                run=name,
                label=label,
                paper=_table1.get(name, [None] * 3) + [None] * 2,
            )
            for name, label in _systems.items()
        ],
    ),
    dict(
        title='Table 2: coarse (category) and fine (product) retrieval among held-out photos',
        columns={
            'val/m5_mAP@1': 'coarse mAP@1',
            'val/fine_R@1': 'fine R@1',
            'val_image/fine_R@1': 'fine R@1, image feature',
        },
        rows=[
            dict(run=name, label=label, paper=_table2.get(name, [None] * 2) + [None])
            for name, label in _systems.items()
        ],
    ),
]
claims = [
    dict(claim=f'eclip > {name} on {figure}', paper=f'{table}: ECLIP is above all others')
    for figure, table in (('val/category_top1', 'Table 1'), ('val/fine_R@1', 'Table 2'))
    for name in _systems
    if name != 'eclip'
]
