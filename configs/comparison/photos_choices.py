# What the paper leaves open, on real video frames from pretrained towers, both frozen.
# See photos_snacks.py for the commands.
title = 'Snacks: what the paper leaves open'
notes = 'photos_choices_notes.md'
seeds = [0, 1, 2, 3, 4]
_eclip = '../photos/eclip_lite2_snacks.py'
runs = {
    'eclip': _eclip,
    'prompts-text': dict(config=_eclip, cfg_options={'model.prompts.image_prob': 0.0}),
    'no-entropy': dict(config=_eclip, cfg_options={'model.pretext_heads.intra.entropy': None}),
    'index-first': dict(config=_eclip, cfg_options={'model.prompts.positive_index': 'first'}),
    'blocks-3': dict(config=_eclip, cfg_options={'model.decoder.num_blocks': 3}),
}
tables = [
    dict(
        title='Grounding',
        columns={
            'val/right_box': 'right box',
            'val/pointing': 'peak in the right box',
            'val_regions/acc@0.5': 'Acc@0.5 among regions',
            'val_image_prompt/right_box': 'image prompt: right box',
            'val_image_prompt/pointing': 'image prompt: peak',
        },
        rows=[
            dict(run='eclip', label='ECLIP: one block, mixed prompts, entropy 0.05, random place'),
            dict(run='prompts-text', label='text prompts only'),
            dict(run='no-entropy', label='no entropy term'),
            dict(run='index-first', label='positive query always first'),
            dict(run='blocks-3', label='three decoder blocks'),
        ],
    ),
]
claims = [
    dict(claim='eclip > blocks-3 on val/right_box', paper='six blocks on 100 M pictures'),
    dict(claim='eclip > no-entropy on val/pointing', paper='none; Eq. 10'),
]
