# Table 6 from one training, since these negatives are used at the transfer stage only. Evaluate
# with --cfg-options model.negative_queries.use=gaussian, =text, =ema or =catalogue.
_base_ = '../eclip_vitb16.py'
model = dict(
    negative_queries=dict(
        type='SwitchableNegatives',
        use='gaussian',
        options=dict(
            gaussian=dict(type='GaussianNegatives'),
            text=dict(type='TextNegatives'),
            ema=dict(type='EMANegatives'),
            catalogue=dict(type='CatalogueNegatives'),
        ),
    )
)
