# eclip_detr_tiny_snacks.py without pretraining: its architecture, random weights, same schedule.
_base_ = 'eclip_detr_tiny_snacks.py'
model = dict(
    backbone=dict(
        encoder=dict(
            type='TransformersImageEncoder',
            model_type='dinov2_with_registers',
            config=dict(
                hidden_size=128,
                num_attention_heads=4,
                num_hidden_layers=3,
                mlp_ratio=4,
                num_register_tokens=8,
                image_size=96,
                patch_size=12,
                initializer_range=0.08,
            ),
        )
    ),
    decoder=dict(embed_dims=128, num_blocks=1, num_heads=4),
    class_prompts=None,
    init_cfg=None,
)
