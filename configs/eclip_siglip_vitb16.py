# From SigLIP ViT-B/16, whole: towers, pooling head, logit scale and bias, preprocessing and
# tokenizer.
#   python tools/get_towers.py google/siglip-base-patch16-224
_base_ = 'eclip_vitb16.py'
model = dict(
    pretrained_dual='checkpoints/siglip-base-patch16-224',
    embed_dims=768,
    data_preprocessor=dict(_delete_=True, type='ProductDataPreprocessor'),
    image_encoder=dict(_delete_=True, type='TransformersImageEncoder'),
    text_encoder=dict(_delete_=True, type='TransformersTextEncoder'),
)
