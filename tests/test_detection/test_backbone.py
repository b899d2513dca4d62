"""The image encoder as mmdet's backbone: sizes, weights by name, windows, pyramid."""

import copy

import pytest
import torch

from eclip_mm.registry import MODELS

pytestmark = pytest.mark.ops


def build(**kwargs):
    import eclip_mm.models.detection  # noqa: F401

    backbone = MODELS.build(dict(type='EclipBackbone', **kwargs))
    backbone.init_weights()
    return backbone.eval()


def pretrained(pretraining, **kwargs):
    return build(init_cfg=dict(type='Pretrained', checkpoint=pretraining[0]), **kwargs)


def encoder(model_type='vit', **config):
    return dict(
        type='TransformersImageEncoder',
        model_type=model_type,
        config=dict(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=32,
            patch_size=8, **config,
        ),
    )  # fmt: skip


def test_the_map_is_the_pretrained_encoders_patch_tokens(pretraining):
    backbone = pretrained(pretraining)
    images = torch.randn(2, 3, 32, 32)
    (features,) = backbone(images)
    model = pretraining[1].eval()
    _, tokens, grid = model.network.image_encoder(images)
    assert grid == (4, 4)
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens)


def test_the_momentum_model_is_a_prefix_away(pretraining, tmp_path):
    path, model = pretraining
    state = {k: v + 1 if k.startswith('teacher.') else v for k, v in model.state_dict().items()
             if torch.is_tensor(v)}  # fmt: skip
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict=state, meta=torch.load(path, weights_only=True)['meta']), other)
    args = dict(type='Pretrained', checkpoint=str(other))
    student, teacher = (
        build(init_cfg=dict(args, prefix=prefix)).state_dict()
        for prefix in ('network.', 'teacher.network.')
    )
    name = 'encoder.model.layernorm.weight'
    assert torch.equal(student[name] + 1, teacher[name])


@pytest.mark.parametrize('model_type', ['vit', 'dinov2', 'dinov2_with_registers', 'deit'])
@pytest.mark.parametrize('size', [(32, 32), (33, 50), (64, 17)])
def test_any_size(model_type, size):
    backbone = build(encoder=encoder(model_type))
    (features,) = backbone(torch.randn(1, 3, *size))
    assert features.shape == (1, 16, -(-size[0] // 8), -(-size[1] // 8))
    assert backbone.strides == (8,)


PYRAMIDS = {
    'convnext': dict(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
    'resnet': dict(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
    'swin': dict(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1] * 4, image_size=64, window_size=2
    ),
}


@pytest.mark.parametrize('model_type', PYRAMIDS)
def test_the_stride_of_a_pyramid_is_measured(model_type):
    """Its sides need not be multiples of the stride, nor equal."""
    backbone = build(
        encoder=dict(
            type='TransformersImageEncoder', model_type=model_type, config=PYRAMIDS[model_type]
        )
    ).train()
    assert backbone.strides == (32,) and backbone.training
    (features,) = backbone(torch.randn(2, 3, 64, 96))
    assert features.shape == (2, backbone.embed_dims, 2, 3)
    for size in ((65, 96), (70, 100)):
        height, width = backbone(torch.randn(2, 3, *size))[0].shape[2:]
        assert size[0] // 32 <= height <= -(-size[0] // 32)
        assert size[1] // 32 <= width <= -(-size[1] // 32)


@pytest.mark.parametrize('checkpointing', [False, True])
def test_maps_of_several_layers(checkpointing):
    cfg = encoder('dinov2_with_registers', num_register_tokens=3)
    backbone = build(encoder=cfg, out_layers=[0, 2], gradient_checkpointing=checkpointing).train()
    twin, images = copy.deepcopy(backbone), torch.randn(2, 3, 33, 24)
    maps = backbone(images)
    assert backbone.strides == (8, 8, 8) and backbone.num_maps == 3
    model = backbone.encoder.model
    padded = torch.nn.functional.pad(images, (0, 0, 0, 7))
    tokens = model.encoder.layer[0](model.embeddings(padded))  # the first layer, alone
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    torch.testing.assert_close(maps[0].flatten(2).transpose(1, 2), tokens[:, 4:])
    twin(torch.randn(1, 3, 8, 8))
    for mine, its in zip(maps, twin(images), strict=True):
        torch.testing.assert_close(mine, its)
    maps[0].sum().backward()
    assert model.embeddings.cls_token.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r'out_layers \[4\] are not among the 4 layers'):
        build(encoder=cfg, out_layers=[1, 4])


def test_checkpointing_changes_no_gradient(pretraining):
    images, grads = torch.randn(1, 3, 40, 32), []
    for recompute in (False, True):
        backbone = pretrained(pretraining, gradient_checkpointing=recompute).train()
        backbone(images)[0].square().sum().backward()
        grads.append(backbone.encoder.model.embeddings.cls_token.grad)
    torch.testing.assert_close(*grads)


def test_a_window_as_large_as_the_picture_changes_nothing():
    cfg = encoder('dinov2_with_registers', num_register_tokens=3)
    whole = build(encoder=cfg)
    windowed = build(encoder=cfg, window_size=4, global_layers=[])
    windowed.load_state_dict(whole.state_dict())  # names stay
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(whole(images)[0], windowed(images)[0])


def test_windows_do_not_see_each_other():
    # with no class token to carry it, nothing of one window reaches another
    backbone = build(encoder=encoder(), window_size=2, global_layers=[])
    backbone.encoder.model.layers = backbone.encoder.model.layers[:1]
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[..., 16:, 16:] += 1  # the last of the four windows
    difference = (backbone(images)[0] - backbone(changed)[0]).abs().amax(dim=1)[0]
    assert difference[2:, 2:].min() > 0
    assert difference[:2].max() == 0 and difference[:, :2].max() == 0


def test_windows_pad_the_picture_and_survive_a_copy():
    backbone = build(encoder=encoder(), window_size=3, global_layers=[3])
    twin = copy.deepcopy(backbone)
    images = torch.randn(1, 3, 33, 50)
    assert backbone(images)[0].shape == (1, 16, 5, 7)
    backbone(torch.randn(1, 3, 24, 24))  # sets another grid, in this one only
    torch.testing.assert_close(twin(images)[0], backbone(images)[0])


def test_the_report_says_what_is_left_and_why(pretraining):
    from eclip_mm.models.detection import load_pretrained

    backbone = build(encoder=_own_encoder(pretraining))
    report = load_pretrained({'image_encoder': backbone.encoder}, pretraining[0])
    assert report.loaded == {'image_encoder': len(backbone.encoder.state_dict())}
    assert not report.new and not report.misfits and not report.unused
    assert {'text_encoder', 'teacher', 'heads', 'queries', 'decoder'} <= report.left.keys()


def _own_encoder(pretraining):
    from eclip_mm.checkpoint.metadata import read_saved_config

    return read_saved_config(pretraining[0])['model']['image_encoder']


def test_another_image_size_resizes_positions(pretraining):
    cfg = _own_encoder(pretraining)
    cfg['config']['image_size'] = 64
    backbone = pretrained(pretraining, encoder=cfg)
    positions = backbone.encoder.model.embeddings.position_embeddings
    old = pretraining[1].network.image_encoder.model.embeddings.position_embeddings
    assert positions.shape == (1, 65, 32)
    assert torch.equal(positions[:, 0], old[:, 0])
    torch.testing.assert_close(positions[:, 1:].mean(1), old[:, 1:].mean(1), atol=2e-3, rtol=0.1)


def test_an_encoder_of_another_width_is_refused(pretraining):
    with pytest.raises(ValueError, match=r"none of its \d+ tensors of 'image_encoder' fits"):
        pretrained(pretraining, encoder=encoder())


def test_no_pretraining_checkpoint(pretraining, tmp_path):
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'backbone.conv.weight': torch.zeros(1)}), other)
    with pytest.raises(KeyError, match='has no config of a pretraining'):
        build(init_cfg=dict(type='Pretrained', checkpoint=str(other)))
    with pytest.raises(KeyError, match='names begin with backbone.conv'):
        build(encoder=encoder(), init_cfg=dict(type='Pretrained', checkpoint=str(other)))
    with pytest.raises(KeyError, match='EclipBackbone.encoder is not set'):
        build()
    with pytest.raises(ValueError, match='init_cfg must be dict'):
        build(encoder=encoder(), init_cfg=dict(type='Pretrained', path='x'))


def test_a_filled_config_needs_no_checkpoint(pretraining):
    from eclip_mm.config.detection import fill_architecture

    model = dict(
        type='RPN',
        backbone=dict(
            type='eclip_mm.EclipBackbone',
            init_cfg=dict(type='Pretrained', checkpoint=pretraining[0]),
        ),
    )
    fill_architecture(model)
    del model['backbone']['init_cfg']
    assert MODELS.build(model['backbone']).embed_dims == 32


def test_simple_fpn_strides():
    import eclip_mm.models.detection  # noqa: F401

    neck = MODELS.build(dict(type='SimpleFPN', in_channels=16, out_channels=8))
    maps = neck((torch.randn(2, 16, 5, 7),))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (8, 20, 28), (8, 10, 14), (8, 5, 7), (8, 3, 4), (8, 2, 2)
    ]  # fmt: skip
    sum(m.square().sum() for m in maps).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in neck.parameters())


def test_an_encoder_of_ones_own_needs_no_pooling_head(monkeypatch):
    from eclip_mm.models.encoders import TransformersImageEncoder

    monkeypatch.delattr(TransformersImageEncoder, 'freeze_head')
    assert build(encoder=encoder()).embed_dims == 16
