"""Encoders from transformers, and the sizes of the paper's models."""

import pytest
import torch
from mmengine.config import Config

from eclip_mm.registry import MODELS

VISION = {
    'vit': dict(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    ),
    'dinov2_with_registers': dict(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    ),
    'convnext': dict(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    'swin': dict(
        embed_dim=8, depths=[1, 1], num_heads=[2, 2], image_size=32, patch_size=4, window_size=2
    ),
}


@pytest.mark.parametrize('model_type', VISION)
def test_any_vision_model_gives_tokens_and_grid(model_type):
    encoder = MODELS.build(
        dict(type='TransformersImageEncoder', model_type=model_type, config=VISION[model_type])
    ).eval()
    class_token, patch_tokens, (h, w) = encoder(
        torch.randn(2, 3, 64 if 'conv' in model_type else 32, 32 * (1 + ('conv' in model_type)))
    )
    assert class_token.shape == (2, encoder.embed_dims)
    assert patch_tokens.shape == (2, h * w, encoder.embed_dims)


def test_a_missing_pretrained_model_says_how_to_get_it():
    with pytest.raises(OSError, match='hf download no/such-model'):
        MODELS.build(dict(type='TransformersImageEncoder', pretrained='no/such-model'))


def test_pretrained_weights_load_from_a_directory(tmp_path):
    source = MODELS.build(
        dict(type='TransformersImageEncoder', model_type='vit', config=VISION['vit'])
    )
    source.model.save_pretrained(tmp_path)
    loaded = MODELS.build(
        dict(type='TransformersImageEncoder', model_type='vit', pretrained=str(tmp_path))
    )
    for (name, a), b in zip(
        source.state_dict().items(), loaded.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(
    'config, millions, paper',
    [('configs/eclip_vitb16.py', 221, 220), ('configs/eclip_vitl16.py', 438, 450)],
)
def test_parameter_counts_are_the_papers(config, millions, paper, repo_root):
    cfg = Config.fromfile(repo_root / config).model
    cfg.image_encoder.pretrained = cfg.text_encoder.pretrained = None
    with torch.device('meta'):
        model = MODELS.build(cfg)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    assert count == pytest.approx(paper, rel=0.03)
    assert round(count) == millions


def test_without_zero_padding_a_plain_picture_has_no_border():
    """All tokens of a plain picture are equal; a frame of zeros tells border from middle."""
    config = dict(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8, layer_type='x'
    )
    cfg = dict(type='TransformersImageEncoder', model_type='regnet', config=config)
    torch.manual_seed(0)
    plain = MODELS.build(cfg).eval()
    picture = torch.tensor([0.3, -0.5, 0.8]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    spread = plain(picture)[1].std(dim=1).max()
    for mode in ('replicate', 'reflect'):
        padded = MODELS.build(dict(cfg, conv_padding=mode)).eval()
        padded.load_state_dict(plain.state_dict())  # the same names and shapes
        assert padded(picture)[1].std(dim=1).max() < 1e-5 < spread
    with pytest.raises(ValueError, match=r'ViTModel.*leave it out'):
        MODELS.build(
            dict(
                type='TransformersImageEncoder',
                model_type='vit',
                config=VISION['vit'],
                conv_padding='reflect',
            )
        )
