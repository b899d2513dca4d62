# FILIP with the towers, data and schedule of the paper's ViT-B/16.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.filip.filip'])
model = dict(
    type='FILIP',
    pretext_heads=dict(itc=None, inter=None, itm=None, intra=None, filip=dict(type='FILIPHead')),
)
