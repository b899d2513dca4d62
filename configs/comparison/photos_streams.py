# The four models of projects/streams on video frames, beside CLIP and ECLIP. See photos_snacks.py.
title = 'Snacks: CAPTURE, SCALE, ViLBERT and UNITER'
notes = 'photos_streams_notes.md'
seeds = [0, 1, 2, 3, 4]
_photos = '../photos/'
_projects = '../../projects/'
runs = {
    'clip': _photos + 'clip_lite2_snacks.py',
    'capture': _projects + 'capture/capture_lite2_snacks.py',
    'scale': _projects + 'scale/scale_lite2_snacks.py',
    'vilbert': _projects + 'vilbert/vilbert_lite2_snacks.py',
    'uniter': _projects + 'uniter/uniter_lite2_snacks.py',
    'eclip': _photos + 'eclip_lite2_snacks.py',
}
_systems = [
    ('clip', 'CLIP', [86.6, 54.4, None]),
    ('capture', 'CAPTURE', [40.4, 17.2, None]),
    ('scale', 'SCALE, two modalities', None),
    ('vilbert', "ViLBERT, ordering CLIP's first 64", None),
    ('uniter', "UNITER, ordering CLIP's first 64", None),
    ('eclip', 'ECLIP', [89.6, 55.9, None]),
]
tables = [
    dict(
        title='Table 3: frames of several snacks search cut-outs of the other video',
        columns={
            'instance/product1m_mAP@10': 'mAP@10',
            'instance/product1m_mAR@10': 'mAR@10',
            'image/product1m_mAP@10': 'mAP@10, image feature',
        },
        rows=[dict(run=run, label=label, paper=paper) for run, label, paper in _systems],
    ),
    dict(
        title='Table 4, left: grounding; the right box is chosen among the annotated objects',
        columns={
            'val/right_box': 'right box',
            'val/pointing': 'peak in the right box',
            'val_regions/acc@0.5': 'Acc@0.5 among regions',
            'val_image_prompt/right_box': 'image prompt: right box',
            'val_image_prompt/pointing': 'image prompt: peak',
        },
        rows=[dict(run=run, label=label) for run, label, _ in _systems],
    ),
]
claims = [
    dict(claim=f'eclip > {run} on instance/product1m_mAP@10', paper=paper)
    for run, paper in (
        ('capture', 'Table 3: 89.6 > 40.4'),
        ('scale', 'Table 2, mAP@1: 69.6 > 59.8'),
        ('vilbert', 'Table 2, mAP@1: 69.6 > 58.6'),
        ('uniter', 'Table 2, mAP@1: 69.6 > 58.9'),
    )
]
