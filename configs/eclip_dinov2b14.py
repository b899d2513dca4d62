# DINOv2 ViT-B/14, as an example of another vision model of `transformers`.
_base_ = 'eclip_vitb16.py'
model = dict(
    data_preprocessor=dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    # The pretrained position embeddings are for 518 px; the model interpolates them to 224. The
    # mask token serves DINOv2's own pretraining only; as a weight without gradient it would stop
    # DDP, hence use_mask_token=False.
    image_encoder=dict(
        model_type='dinov2',
        pretrained='facebook/dinov2-base',
        config=dict(_delete_=True, image_size=518, patch_size=14, use_mask_token=False),
    ),
)
