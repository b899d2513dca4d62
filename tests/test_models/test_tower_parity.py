"""Each family gives the feature of its reference class in ``transformers``."""

import pytest
import torch
import torch.nn.functional as F

from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder
from eclip_mm.models.encoders.families import DUAL_FAMILIES, IMAGE_FAMILIES, TEXT_FAMILIES
from helpers import towers


def close(ours, reference):
    torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('model_type', towers.IMAGE)
def test_the_class_token_is_the_reference_feature(model_type, tmp_path):
    reference = towers.build(model_type, towers.IMAGE[model_type])
    reference.save_pretrained(tmp_path)
    encoder = TransformersImageEncoder(model_type, pretrained=str(tmp_path)).eval()
    images = torch.randn(2, 3, 32, 32)
    outputs = reference(images)
    wanted = outputs.get('pooler_output')
    if model_type in ('swin', 'swinv2', 'mobilenet_v2'):  # with `add_pooling_layer=True`
        wanted = outputs.last_hidden_state
        wanted = wanted.flatten(2).mean(dim=2) if wanted.ndim == 4 else wanted.mean(dim=1)
    elif wanted is None:  # ViT's pooling layer belongs to another task
        wanted = outputs.last_hidden_state[:, 0]
    class_token, patch_tokens, (h, w) = encoder(images)
    close(class_token, wanted.flatten(1))
    assert class_token.shape == (2, encoder.embed_dims)
    assert patch_tokens.shape == (2, h * w, encoder.embed_dims)


@pytest.mark.parametrize('model_type', towers.TEXT)
@pytest.mark.parametrize('length_groups', [None, 1])
def test_the_token_of_a_text_is_the_reference_feature(model_type, length_groups, tmp_path):
    fields = towers.TEXT[model_type]
    reference = towers.build(model_type, fields)
    reference.save_pretrained(tmp_path)
    encoder = TransformersTextEncoder(
        model_type, fields, length_groups=length_groups, model=towers.build(model_type, fields)
    ).eval()
    ids, mask = towers.texts(eos=fields.get('eos_token_id'), pad=0)
    feats = encoder(ids, mask)
    outputs = reference(ids, attention_mask=mask)
    if model_type == 'siglip_text_model':  # all 16 positions, no mask, and a projection
        outputs = reference(F.pad(ids, (0, 7), value=0))
        feats = reference.head(feats)
    if fields.get('eos_token_id'):
        wanted = outputs.get('pooler_output')
    elif model_type == 'mpnet':  # as sentence-transformers has it
        weights = mask.unsqueeze(-1).expand(outputs.last_hidden_state.size()).float()
        wanted = (outputs.last_hidden_state * weights).sum(1) / torch.clamp(
            weights.sum(1), min=1e-9
        )
    else:
        wanted = outputs.last_hidden_state[:, 0]
    close(feats, wanted)
    for k, length in enumerate(mask.sum(dim=1)):  # alone, without padding
        close(
            encoder(ids[k : k + 1, :length], mask[k : k + 1, :length]),
            encoder(ids, mask)[k : k + 1],
        )


def test_every_family_has_its_parity():
    assert set(TEXT_FAMILIES) == set(towers.TEXT)
    assert set(IMAGE_FAMILIES) == set(towers.IMAGE)
    assert set(DUAL_FAMILIES) == set(towers.DUAL)
