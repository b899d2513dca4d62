# The row "both" of Table 5, and the base of this folder: the demo's model on the generated
# catalogue with every kind of negatives. These are used at the transfer stage only, so that one
# training gives Table 6. Evaluate with --cfg-options model.negative_queries.use=gaussian, =text,
# =ema or =catalogue.
_base_ = '../../demo/eclip_tiny_synthetic.py'
model = dict(
    negative_queries=dict(
        type='SwitchableNegatives',
        use='text',
        options=dict(
            gaussian=dict(type='GaussianNegatives'),
            text=dict(type='TextNegatives'),
            ema=dict(type='EMANegatives'),
            catalogue=dict(type='CatalogueNegatives'),
        ),
    )
)
