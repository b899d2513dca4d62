# Grounding and retrieval on real video frames with the last 6 of the image tower's 21 blocks
# trained: 300 steps.
#   python tools/cache_features.py configs/photos/eclip_lite2-6_snacks.py --jobs 2 --num-workers 0
#   python tools/compare.py configs/comparison/photos_layers_snacks.py --jobs 2
title = 'Snacks, the last 6 of 21 blocks trained'
seeds = [0, 1, 2, 3, 4]
_photos = '../photos/'
runs = {
    'clip': _photos + 'clip_lite2-6_snacks.py',
    'eclip': _photos + 'eclip_lite2-6_snacks.py',
}
cfg_options = {'train_dataloader.sampler.num_passes': 50}
# the same weights with 24 x 24 instead of 12 x 12 tokens, each the mean of its neighbours
_finer = {'model.image_encoder.output_stride': 16, 'model.image_encoder.smooth_tokens': 3}
variants = {
    'clip-finer': dict(of='clip', cfg_options=_finer),
    'eclip-finer': dict(of='eclip', cfg_options=_finer),
    'eclip-background': dict(of='eclip', cfg_options={**_finer, 'model.decoder.background': 0.3}),
}
tables = [
    dict(
        title='Grounding; the right box is chosen among the annotated objects',
        columns={
            'val/right_box': 'right box',
            'val/pointing': 'peak in the right box',
            'val_regions/acc@0.5': 'Acc@0.5 among regions',
            'val_image_prompt/right_box': 'image prompt: right box',
            'val_image_prompt/pointing': 'image prompt: peak',
            'instance/product1m_mAP@10': 'mAP@10',
        },
        rows=[
            dict(run='clip', label='CLIP'),
            dict(run='clip-finer', label='CLIP, finer tokens at test'),
            dict(run='eclip', label='ECLIP'),
            dict(run='eclip-finer', label='ECLIP, finer tokens at test'),
            dict(run='eclip-background', label='the same, with a background'),
        ],
    ),
]
claims = [
    dict(claim='eclip > clip on val/right_box', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip-finer > clip-finer on val/right_box', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > clip on val/pointing', paper='none'),
    dict(claim='eclip-finer > clip-finer on val/pointing', paper='none'),
    dict(claim='eclip-finer > clip-finer on val_regions/acc@0.5', paper='Table 4: 91.2 > 80.9'),
    dict(claim='eclip > clip on instance/product1m_mAP@10', paper='Table 3: 89.6 > 86.6'),
]
