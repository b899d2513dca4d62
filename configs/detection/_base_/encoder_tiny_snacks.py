# The image encoder of configs/demo/eclip_tiny_snacks.py, for detectors without pretraining; other
# detectors read it from their checkpoint.
encoder = dict(
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
