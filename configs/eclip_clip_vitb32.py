# From CLIP ViT-B/32, whole: towers, projections, logit scale, preprocessing and tokenizer.
#   python tools/get_towers.py openai/clip-vit-base-patch32
_base_ = 'eclip_vitb16.py'
model = dict(
    pretrained_dual='checkpoints/clip-vit-base-patch32',
    data_preprocessor=dict(_delete_=True, type='ProductDataPreprocessor'),
    image_encoder=dict(_delete_=True, type='TransformersImageEncoder'),
    text_encoder=dict(_delete_=True, type='TransformersTextEncoder'),
)
