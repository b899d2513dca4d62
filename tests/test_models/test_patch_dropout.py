"""Patches that training leaves out: no trace of them, and nothing else changes."""

import copy

import pytest
import torch
import torch.nn.functional as F

from eclip_mm.models.encoders import TransformersImageEncoder
from eclip_mm.models.encoders.families import IMAGE_FAMILIES
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers import towers

PLAIN = [name for name in towers.IMAGE if IMAGE_FAMILIES[name].is_plain]
PYRAMIDS = sorted(towers.IMAGE.keys() - set(PLAIN))


def encoder(model_type, rate=0.5):
    torch.manual_seed(0)
    fields = dict(towers.IMAGE[model_type])
    if model_type == 'dinov3_vit':  # its training moves the positions at random
        fields['pos_embed_rescale'] = None
    model = towers.build(model_type, fields)
    return TransformersImageEncoder(model=model, patch_dropout=rate).train()


def spy(encoder):
    """What is kept in the next passes."""
    drawn, draw = [], encoder.patch_dropout.draw

    def remember(*args):
        count = draw(*args)
        drawn.append(encoder.patch_dropout.kept)
        return count

    encoder.patch_dropout.draw = remember
    return drawn


@pytest.mark.parametrize('model_type', PLAIN)
def test_the_result_is_that_of_attention_that_does_not_see_them(model_type, monkeypatch):
    built = encoder(model_type)
    drawn, images = spy(built), torch.randn(3, 3, 32, 32)
    class_token, patch_tokens, grid = built(images)
    (kept,) = drawn
    assert kept.shape == (3, 8) and grid == (4, 4) and patch_tokens.shape[1] == 8
    assert not torch.equal(kept[0], kept[1])  # each picture has draws of its own
    attention = F.scaled_dot_product_attention

    def masked(query, key, value, attn_mask=None, **options):
        is_seen = torch.zeros(3, 16, dtype=torch.bool).scatter_(1, kept, True)
        is_seen = F.pad(is_seen, (key.shape[2] - 16, 0), value=True)
        return attention(query, key, value, attn_mask=is_seen[:, None, None], **options)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', masked)
    built.eval()
    built.patch_dropout.draw = lambda images, count: count
    wanted_class, wanted_tokens, _ = built(images)
    rows = torch.arange(3)[:, None]
    if built.pooling == 'attention':  # of a head with another implementation
        wanted_class = built.model.head(wanted_tokens[rows, kept])
    torch.testing.assert_close(class_token, wanted_class, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(patch_tokens, wanted_tokens[rows, kept], rtol=1e-5, atol=1e-5)


def test_draws_follow_from_the_generator_and_cover_all_patches():
    built, images = encoder('vit', rate=0.75), torch.randn(64, 3, 32, 32)
    drawn = spy(built)
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        built(images)
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    counts = torch.bincount(drawn[0].flatten(), minlength=16)
    assert drawn[0].shape == (64, 4) and (counts > 4).all()  # 16 each on average
    assert (drawn[0].diff(dim=1) > 0).all()  # row by row, none twice


def test_evaluation_and_other_callers_see_all_patches():
    built, images = encoder('vit'), torch.randn(2, 3, 32, 32)
    built(images)
    whole = built.model.embeddings(images)  # shared with the teacher where it is frozen
    assert whole.shape[1] == 17
    plain = encoder('vit', rate=0.0)
    assert built.state_dict().keys() == plain.state_dict().keys()
    for ours, theirs in zip(built.eval()(images), plain.eval()(images), strict=True):
        assert ours == theirs if isinstance(ours, tuple) else torch.equal(ours, theirs)
    assert encoder('vit', rate=0.99)(images)[1].shape[1] == 1


@pytest.mark.parametrize('model_type', PYRAMIDS)
def test_what_needs_the_whole_grid_refuses(model_type):
    with pytest.raises(ValueError, match=f"patch_dropout=0.5 is for plain ViTs; '{model_type}'"):
        encoder(model_type)


@pytest.mark.parametrize('rate', [1.0, -0.1])
def test_a_rate_outside_its_range_is_an_error(rate):
    with pytest.raises(ValueError, match=r'patch_dropout has to lie in \[0, 1\)'):
        encoder('vit', rate)


def config(**overrides):
    cfg = tiny_model_config(**overrides)
    cfg['image_encoder'].update(patch_dropout=0.5)
    return cfg


def test_a_frozen_tower_refuses_and_a_partly_frozen_one_does_not():
    with pytest.raises(ValueError, match=r"freeze.image='all' freezes the whole.*=0.5 only loses"):
        MODELS.build(config(freeze=dict(image='all')))
    model = MODELS.build(config(freeze=dict(image=1))).train()
    embeddings = model.network.image_encoder.model.embeddings
    assert model.teacher.network.image_encoder.model.embeddings is embeddings


@pytest.mark.parametrize('freeze', [{}, dict(image=1)])
def test_a_step_has_fewer_tokens_and_the_teacher_all(freeze):
    torch.manual_seed(0)
    model = MODELS.build(config(freeze=freeze)).train()
    assert not model.teacher.network.image_encoder.training
    seen = []
    for network in (model.network, model.teacher.network):
        network.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    batch = model.data_preprocessor(fake_batch())
    model.parse_losses(model(**batch, mode='loss'))[0].backward()
    assert sorted(seen) == [8, 16]
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    with torch.no_grad():
        sample = model.eval()(**batch, mode='predict')[0]
    assert sample.pred_score_map.shape == (4, 4)


def test_chunks_repeat_their_draws():
    """Gradient caching runs each chunk twice."""
    torch.manual_seed(0)
    model = MODELS.build(config(chunk_size=3)).train()
    drawn = spy(model.network.image_encoder)
    batch = model.data_preprocessor(fake_batch())
    model.parse_losses(model(**batch, mode='loss'))[0].backward()
    first, second, *again = drawn
    assert len(again) == 2 and all(
        any(torch.equal(kept, other) for other in again) for kept in (first, second)
    )
    assert not torch.equal(first, second)


def test_a_copy_drops_by_itself():
    built = encoder('vit')
    other = copy.deepcopy(built)
    images = torch.randn(2, 3, 32, 32)
    torch.manual_seed(1)
    tokens = built(images)[1]
    torch.manual_seed(1)
    assert torch.equal(other(images)[1], tokens)
    assert built.eval()(images)[1].shape[1] == 16 and other(images)[1].shape[1] == 8


@pytest.mark.ops
def test_a_detector_keeps_the_whole_map():
    import eclip_mm.models.detection  # noqa: F401

    backbone = MODELS.build(dict(type='EclipBackbone', encoder=config()['image_encoder'])).train()
    assert backbone(torch.randn(1, 3, 32, 40))[0].shape[-2:] == (4, 5)
