_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.example_head.sigmoid_head'])
model = dict(pretext_heads=dict(itc=None, mine=dict(type='SigmoidHead')))
