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


CLIP_TEXT = dict(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    vocab_size=50,
    eos_token_id=49,
    bos_token_id=1,
)


def text_encoder(model_type, config=None, **options):
    torch.manual_seed(0)
    cfg = dict(type='TransformersTextEncoder', model_type=model_type, config=config or CLIP_TEXT)
    return MODELS.build(dict(cfg, **options)).eval()


@pytest.mark.parametrize('eos', [49, 2])
def test_a_causal_text_model_tells_texts_apart(eos):
    """Token 0 of CLIP's text model sees nothing of the text."""
    encoder = text_encoder('clip_text_model', dict(CLIP_TEXT, eos_token_id=eos))
    feats = encoder(torch.tensor([[1, 5, 6, 49], [1, 5, 7, 49]]), torch.ones(2, 4).long())
    assert (feats[0] - feats[1]).abs().max() > 1e-3


GPT2 = dict(n_embd=16, n_layer=1, n_head=2, vocab_size=50, bos_token_id=1, eos_token_id=49)


def test_a_text_model_without_a_rule_is_an_error():
    with pytest.raises(ValueError, match=r"'gpt2'.*first token does not see.*pooling='last'"):
        text_encoder('gpt2', GPT2)
    # its first token sees the text, but nothing says that this is its feature
    bert = {k: CLIP_TEXT[k] for k in list(CLIP_TEXT)[:5]}
    with pytest.raises(ValueError, match=r"'ernie' is in no family.*pooling='cls'"):
        text_encoder('ernie', bert)
    text_encoder('ernie', bert, pooling='cls')


def test_a_pooling_that_cannot_see_the_text_is_an_error():
    with pytest.raises(ValueError, match="'gpt2'.*pooling='cls'.*same feature"):
        text_encoder('gpt2', GPT2, pooling='cls')
    with pytest.raises(ValueError, match="'bert'.*pooling='cls'.*same feature"):
        bert = {k: CLIP_TEXT[k] for k in list(CLIP_TEXT)[:5]}
        text_encoder('bert', dict(bert, is_decoder=True))
    for pooling in ('last', 'eos', 'mean'):
        text_encoder('gpt2', GPT2, pooling=pooling)
    with pytest.raises(ValueError, match="pooling='max'.*'cls', 'eos', 'last', 'mean'"):
        text_encoder('gpt2', GPT2, pooling='max')


@pytest.mark.parametrize('model_type', ['vit', 'dinov2', 'clip_vision_model'])
def test_pixels_that_fill_no_patch_are_an_error(model_type):
    """80 pixels and patches of 12: the last 8 would be dropped and the map stretched over them."""
    config = dict(VISION['vit'], image_size=80, patch_size=12)
    if model_type == 'dinov2':
        config = {key: config[key] for key in config if key != 'intermediate_size'}
    cfg = dict(type='TransformersImageEncoder', model_type=model_type, config=config)
    with pytest.raises(
        ValueError, match=r'image_size=80.*patch_size=12.*config=dict\(image_size=72\), or 84'
    ):
        MODELS.build(cfg)
    config['image_size'] = 84
    encoder = MODELS.build(cfg).eval()
    assert encoder(torch.randn(1, 3, 84, 84))[2] == (7, 7)
    with pytest.raises(ValueError, match=r'80 x 84 pixels.*patches of 12'):
        encoder(torch.randn(1, 3, 80, 84), any_size=True)


@pytest.mark.parametrize('model_type', ['convnext', 'swin', 'regnet'])
def test_pixels_that_fill_no_token_of_a_pyramid_are_an_error(model_type):
    config = VISION.get(model_type) or dict(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8, layer_type='x'
    )
    encoder = MODELS.build(
        dict(type='TransformersImageEncoder', model_type=model_type, config=config)
    ).eval()
    side = 2 * max(8, 64 // encoder(torch.randn(1, 3, 64, 64))[2][0])
    assert encoder(torch.randn(1, 3, side, side))[2] == (2, 2)
    with pytest.raises(ValueError, match=f'{side + 4} x {side + 4} pixels.*multiple'):
        encoder(torch.randn(1, 3, side + 4, side + 4))
