# FILIP on frozen, cached towers.
_base_ = '../../configs/photos/eclip_lite2_grocery.py'
custom_imports = dict(imports=['projects.filip.filip'])
model = dict(
    type='FILIP',
    pretext_heads=dict(itc=None, inter=None, itm=None, intra=None, filip=dict(type='FILIPHead')),
)
