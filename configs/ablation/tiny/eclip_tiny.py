# Table 5, "both", and the base of this folder: the demo on the generated catalogue, which also
# keeps every kind of negatives. They enter the transfer stage only, so that one training gives
# Table 6: evaluate with --cfg-options model.negative_queries.use=gaussian, =text or =ema.
_base_ = '../../demo/eclip_tiny_synthetic.py'
model = dict(
    negative_queries=dict(
        type='SwitchableNegatives',
        use='text',
        options=dict(
            gaussian=dict(type='GaussianNegatives'),
            text=dict(type='TextNegatives'),
            ema=dict(type='EMANegatives'),
        ),
    )
)
