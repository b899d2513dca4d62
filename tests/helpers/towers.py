"""Small random models of each family of ``transformers``, built from their configs alone."""

import torch

from eclip_mm.models.encoders.building import build_transformers_model

TRANSFORMER = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
)
PICTURES = dict(image_size=32, patch_size=8)
VIT = dict(TRANSFORMER, **PICTURES)
DINO = {key: VIT[key] for key in VIT if key != 'intermediate_size'}
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
WORDS = dict(TRANSFORMER, vocab_size=60, max_position_embeddings=16)
BERT = dict(WORDS, **NO_DROPOUT)
#: special tokens inside the small vocabulary
ENDS = dict(pad_token_id=1, bos_token_id=2, eos_token_id=3)

SWIN = dict(embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2, **PICTURES)

IMAGE = {
    'vit': VIT,
    'deit': VIT,
    'vit_msn': VIT,
    'dinov2': DINO,
    'dinov2_with_registers': dict(DINO, num_register_tokens=3),
    'dinov3_vit': dict(VIT, num_register_tokens=4),
    'dinov3_convnext': dict(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    'clip_vision_model': VIT,
    'chinese_clip_vision_model': VIT,
    'metaclip_2_vision_model': VIT,
    'siglip_vision_model': VIT,
    'convnext': dict(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    'convnextv2': dict(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    'swin': SWIN,
    'swinv2': SWIN,
    'efficientnet': dict(width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320),
    'regnet': dict(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8, layer_type='x'
    ),
    'resnet': dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type='basic'),
    'mobilenet_v2': dict(depth_multiplier=0.25),
}
#: positions begin behind the id of the padding
OFFSET = dict(BERT, max_position_embeddings=20)
TEXT = {
    'bert': BERT,
    'distilbert': dict(
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=48,
        vocab_size=60,
        max_position_embeddings=16,
        dropout=0.0,
        attention_dropout=0.0,
    ),
    'electra': dict(BERT, embedding_size=24),
    'roberta': OFFSET,
    'xlm-roberta': OFFSET,
    'camembert': OFFSET,
    'mpnet': OFFSET,
    'albert': dict(BERT, embedding_size=24),
    'deberta': dict(BERT, relative_attention=True, pos_att_type=['p2c', 'c2p']),
    'deberta-v2': dict(BERT, relative_attention=True, pos_att_type=['p2c', 'c2p']),
    'chinese_clip_text_model': BERT,
    'clip_text_model': dict(WORDS, **ENDS),
    'metaclip_2_text_model': dict(WORDS, pad_token_id=1, bos_token_id=0, eos_token_id=2),
    'siglip_text_model': dict(WORDS, pad_token_id=0, bos_token_id=None, eos_token_id=1),
}


def _dual(name, text, vision=VIT, **others):
    return dict(text_config=TEXT[text], vision_config=dict(vision), **others)


DUAL = {
    'clip': _dual('clip', 'clip_text_model', projection_dim=24),
    'chinese_clip': _dual('chinese_clip', 'chinese_clip_text_model', projection_dim=24),
    'metaclip_2': _dual('metaclip_2', 'metaclip_2_text_model', projection_dim=24),
    'siglip': _dual('siglip', 'siglip_text_model'),
}


def build(model_type, fields, seed=0):
    """The reference class with weights that none of its initialisations leaves at 0 or 1."""
    torch.manual_seed(seed)
    model = build_transformers_model(model_type, fields, None, False)
    with torch.no_grad():
        for name, param in model.named_parameters():
            if not name.startswith('logit_'):
                param.add_(0.05 * torch.randn_like(param))
        for name, buffer in model.named_buffers():
            if name.endswith('running_mean'):
                buffer.add_(0.1)
    return model.eval()


def texts(lengths=(5, 9, 3, 7), eos=None, pad=0, width=None):
    """Ids (B, M) from 5 on, which end with ``eos``, and the mask."""
    places = torch.arange(width or max(lengths))
    lengths = torch.tensor(lengths)[:, None]
    mask = (places < lengths).long()
    ids = torch.randint(5, 60, mask.shape, generator=torch.Generator().manual_seed(1))
    if eos is not None:
        ids = torch.where(places == lengths - 1, eos, ids)
    return ids * mask + pad * (1 - mask), mask
