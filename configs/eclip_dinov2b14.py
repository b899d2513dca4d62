# Another vision model of `transformers`: DINOv2 ViT-B/14.
_base_ = 'eclip_vitb16.py'
model = dict(
    data_preprocessor=dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    # 518 is the size of the pretrained position embeddings; the model interpolates them to 224.
    # Its mask token is for DINOv2's own pretraining: a weight without gradient would stop DDP.
    image_encoder=dict(
        model_type='dinov2',
        pretrained='facebook/dinov2-base',
        config=dict(_delete_=True, image_size=518, patch_size=14, use_mask_token=False),
    ),
)
