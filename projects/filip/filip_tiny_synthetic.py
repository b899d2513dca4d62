# FILIP with the towers, data and steps of the demo.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.filip.filip'])
model = dict(
    type='FILIP',
    pretext_heads=dict(itc=None, inter=None, itm=None, intra=None, filip=dict(type='FILIPHead')),
)
