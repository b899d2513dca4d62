# Every system that the paper compares, on photographs, from the same frozen and cached towers:
# Tables 3 and 4.
#   python tools/cache_features.py configs/photos/eclip_lite2_snacks.py --jobs 2 --num-workers 0
#   C=configs/comparison; PYTHONPATH=. python tools/compare.py $C/photos_systems_snacks.py \
#       $C/photos_systems_grocery.py --jobs 2
# `--only` and `--seeds` choose a part.
title = 'All compared systems: Tables 3 and 4'
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
    + f'{name}_lite2_snacks.py'
    for name in _systems
}
# the paper's figures; None where it has none
_table3 = {
    'clip': [86.6, 54.4],
    'filip': [86.9, 54.6],
    'declip': [87.1, 54.9],
    'blip': [87.5, 55.1],
    'capture': [40.4, 17.2],
    'eclip': [89.6, 55.9],
}
_table4 = {
    'clip': [80.9],
    'filip': [81.3],
    'declip': [81.0],
    'albef': [80.9],
    'blip': [81.1],
    'eclip': [91.2],
}
tables = [
    dict(
        title='Table 3: frames of several snacks search cut-outs of the other video',
        columns={'instance/product1m_mAP@10': 'mAP@10', 'instance/product1m_mAR@10': 'mAR@10'},
        rows=[
            dict(run=name, label=label, paper=_table3.get(name, [None] * 2))
            for name, label in _systems.items()
        ],
    ),
    dict(
        title='Table 4, left: grounding; the right box is chosen among the annotated objects',
        columns={
            'val_regions/acc@0.5': 'Acc@0.5 among regions',
            'val/right_box': 'right box',
            'val/pointing': 'peak in the right box',
        },
        rows=[
            dict(run=name, label=label, paper=_table4.get(name, [None]) + [None] * 2)
            for name, label in _systems.items()
        ],
    ),
]
claims = [
    dict(claim=f'eclip > {name} on {figure}', paper=f'{table}: ECLIP is above all others')
    for figure, table in (
        ('instance/product1m_mAP@10', 'Table 3'),
        ('val_regions/acc@0.5', 'Table 4'),
    )
    for name in _systems
    if name != 'eclip'
]
