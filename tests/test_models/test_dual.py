"""ECLIP from a whole dual encoder: before any training it is its reference class."""

import copy
import json
import warnings

import pytest
import torch
import torch.nn.functional as F
from transformers import SiglipConfig, SiglipModel

from eclip_mm.checkpoint.metadata import encoder_architectures, use_saved_architecture
from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder
from eclip_mm.models.encoders.building import build_transformers_model
from eclip_mm.models.projections import projection_kind
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers import towers

DIMS = dict(clip=24, chinese_clip=24, metaclip_2=24, siglip=32)


def config(dual, embed_dims, **overrides):
    cfg = tiny_model_config(embed_dims=embed_dims, pretrained_dual=dual, **overrides)
    cfg['image_encoder'] = dict(type='TransformersImageEncoder')
    cfg['text_encoder'] = dict(type='TransformersTextEncoder')
    return cfg


def build(*args, **overrides):
    return MODELS.build(config(*args, **overrides)).eval()


def random_dual(family, **others):
    return dict(model_type=family, config=dict(towers.DUAL[family], **others))


def tensor(features):
    """``get_*_features`` gives the tensor in transformers 4 and an output in 5."""
    return features if isinstance(features, torch.Tensor) else features.pooler_output


@pytest.mark.parametrize('family', towers.DUAL)
def test_features_and_logits_are_the_reference(family, tmp_path):
    reference = towers.build(family, towers.DUAL[family])
    with torch.no_grad():
        reference.logit_scale.fill_(2.2)
        if family == 'siglip':
            reference.logit_bias.fill_(-3.5)
    reference.save_pretrained(tmp_path)
    model = build(str(tmp_path), DIMS[family])
    eos = towers.DUAL[family]['text_config'].get('eos_token_id')
    ids, mask = towers.texts(eos=eos)
    images = torch.randn(4, 3, 32, 32)
    given = dict(input_ids=ids, attention_mask=mask)
    if family == 'siglip':
        given = dict(input_ids=F.pad(ids, (0, 7)))  # as its processor pads, without a mask
    inputs = dict(images=images[:, None], input_ids=ids, attention_mask=mask)
    with torch.no_grad():
        wanted = reference(pixel_values=images, **given).logits_per_image
        image_feats, text_feats = model(inputs)
        for feats, features in (
            (image_feats, reference.get_image_features(images)),
            (text_feats, reference.get_text_features(**given)),
        ):
            torch.testing.assert_close(
                feats, F.normalize(tensor(features), dim=-1), rtol=1e-5, atol=1e-5
            )
        logits = model.logit_scale.exp() * image_feats @ text_feats.T
        if family == 'siglip':
            logits = logits + model.logit_bias
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)
    assert (model.logit_bias is None) == (family != 'siglip')


@pytest.mark.parametrize('family', towers.DUAL)
def test_a_random_dual_trains_and_every_trained_parameter_gets_a_gradient(family):
    model = build(random_dual(family), DIMS[family]).train()
    batch = model.data_preprocessor(fake_batch(vocab_size=60))
    model.parse_losses(model(**batch, mode='loss'))[0].backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


def test_patch_tokens_of_a_clip_have_its_norm_and_projection():
    model = build(random_dual('clip'), 24)
    images = torch.randn(2, 3, 32, 32)
    vision = model.network.image_encoder.model
    tokens = vision.post_layernorm(vision(images).last_hidden_state)
    wanted = model.network.image_proj(tokens[:, 1:])
    torch.testing.assert_close(model.network.encode_image(images)[1], wanted)
    # a map of its own begins there, and is trained by itself
    own = build(random_dual('clip'), 24, patch_projection='separate')
    own.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        own.network.patch_proj.linear.weight.copy_(own.network.image_proj.weight)
    torch.testing.assert_close(own.network.encode_image(images)[1], wanted)
    torch.manual_seed(3)
    fresh = build(random_dual('clip'), 24, patch_projection='separate').network
    assert torch.equal(fresh.patch_proj.linear.weight, fresh.image_proj.weight)


def test_patch_tokens_of_a_siglip_go_through_its_head_one_by_one():
    model = build(random_dual('siglip'), 32, patch_projection='head')
    images = torch.randn(2, 3, 32, 32)
    vision = model.network.image_encoder.model
    tokens = vision(images).last_hidden_state
    wanted = torch.stack([vision.head(tokens[:, k : k + 1]) for k in range(16)], dim=1)
    torch.testing.assert_close(model.network.encode_image(images)[1], wanted)


def test_the_default_of_patch_projection():
    def kind(family, **overrides):
        return build(random_dual(family), DIMS[family], **overrides).network.patch_proj.kind

    clip = dict(pretext_heads=dict(itc=dict(type='ITCHead')))
    assert kind('clip') == kind('clip', **clip) == 'shared'
    assert kind('siglip') == 'separate'
    assert kind('siglip', **clip) == 'head'  # nothing would train it
    with pytest.raises(ValueError, match="'shared'.*'separate' or 'head'"):
        kind('siglip', patch_projection='shared')
    with pytest.raises(ValueError, match="'head' needs .*pooling='attention'"):
        kind('clip', patch_projection='head')
    with pytest.raises(ValueError, match="patch_projection='x'"):
        kind('clip', patch_projection='x')


def test_a_scale_above_the_limit_is_kept():
    model = build(random_dual('clip', logit_scale_init_value=4.765), 24)  # SigLIP's 117
    assert model.max_logit_scale == pytest.approx(117.3, abs=0.1)
    assert build(random_dual('clip'), 24).max_logit_scale == 100


def test_what_contradicts_a_dual_is_an_error():
    dual = random_dual('clip')
    with pytest.raises(ValueError, match='set embed_dims=24'):
        build(dual, 32)
    with pytest.raises(ValueError, match='leave projections out'):
        build(dual, 24, projections=dict(image='none'))
    cfg = config(dual, 24)
    cfg['image_encoder'].update(model_type='vit', pretrained='x')
    with pytest.raises(ValueError, match='image_encoder.model_type.*both name a tower'):
        MODELS.build(cfg)
    with pytest.raises(ValueError, match="'bert' model, and no dual"):
        build(dict(model_type='bert', config=towers.BERT), 24)
    with pytest.raises(KeyError, match="unknown keys \\['modeltype'\\]"):
        build(dict(modeltype='clip'), 24)
    with pytest.raises(ValueError, match='siglip2.*NaFlex.*fixed-size'):
        build(dict(model_type='siglip2'), 24)
    with pytest.raises(TypeError, match='pretrained_duel'):
        MODELS.build(tiny_model_config(pretrained_duel='x'))


def test_a_siglip_whose_patches_leave_pixels_over(tmp_path):
    """Such as so400m-patch14-384: 27 patches of 14 pixels, and 6 pixels that it drops."""
    fields = copy.deepcopy(towers.DUAL['siglip'])
    fields['vision_config'].update(image_size=38, patch_size=8)
    reference = towers.build('siglip', towers.DUAL['siglip'])
    whole = SiglipModel(SiglipConfig(**fields))  # 4 x 4 positions: the same weights
    whole.load_state_dict(reference.state_dict())
    whole.eval().save_pretrained(tmp_path)
    processor = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3, size=dict(height=38, width=38))
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(processor))
    cfg = config(str(tmp_path), 32, data_preprocessor=dict(type='ProductDataPreprocessor'))
    model = MODELS.build(copy.deepcopy(cfg)).eval()
    encoder = model.network.image_encoder
    assert encoder.model.config.image_size == 32 and encoder.preprocessing.size == (32, 32)
    images = torch.randn(2, 3, 38, 38)
    wanted = F.normalize(tensor(whole.get_image_features(images)), dim=-1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('error')
        found = model.network.encode_image(images[..., :32, :32])
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-5)
    assert found[1].shape[1] == 16 and found[2] == (4, 4)
    with pytest.raises(ValueError, match='38 x 38 pixels do not consist of whole patches'):
        model.network.encode_image(images)
    use_saved_architecture(cfg, dict(encoders=encoder_architectures(model)))
    again = MODELS.build(cfg).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.network.encode_image_feats(images[..., :32, :32]), found[0])
    single = TransformersImageEncoder(model_type=None, pretrained=str(tmp_path)).eval()
    torch.testing.assert_close(single(images[..., :32, :32])[0], encoder(images[..., :32, :32])[0])
    with pytest.raises(ValueError, match='image_size=38 is no multiple of patch_size=8'):
        TransformersImageEncoder(
            model_type=None, pretrained=str(tmp_path), config=dict(image_size=38)
        )


@pytest.mark.parametrize('kind', ['linear', 'linear_no_bias', 'norm_linear', 'none'])
def test_projections_of_single_towers(kind):
    cfg = tiny_model_config(projections=dict(image=kind))
    model = MODELS.build(cfg)
    names = [n for n in model.state_dict() if n.startswith('network.image_proj')]
    assert len(names) == dict(linear=2, linear_no_bias=1, norm_linear=4, none=0)[kind]
    assert projection_kind(model.network.image_proj) == kind
    for projections, match in (
        (dict(image='x'), "projections.image='x'"),
        (dict(picture='none'), 'unknown keys'),
    ):
        with pytest.raises((KeyError, ValueError), match=match):
            MODELS.build(tiny_model_config(projections=projections))


@pytest.mark.parametrize('patches', ['shared', 'separate'])
def test_the_norm_before_g_takes_out_the_size_of_channels(patches):
    cfg = tiny_model_config(projections=dict(image='norm_linear'), patch_projection=patches)
    network = MODELS.build(cfg).network
    tokens = torch.randn(2, 5, 32)
    projected = network.patch_proj(tokens, network.image_encoder, network.image_proj)
    wanted = F.layer_norm(tokens, (32,)) @ network.image_proj.weight.T + network.image_proj.bias
    torch.testing.assert_close(projected, wanted)
    scaled = network.patch_proj(7 * tokens + 3, network.image_encoder, network.image_proj)
    # LayerNorm adds 1e-5 to the variance
    torch.testing.assert_close(scaled, projected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('family', ['clip', 'siglip'])
def test_one_tower_of_a_dual(family, tmp_path):
    reference = towers.build(family, towers.DUAL[family])
    reference.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    for model_type in (None, family, f'{family}_vision_model'):
        encoder = TransformersImageEncoder(model_type, pretrained=str(tmp_path)).eval()
        wanted = reference.vision_model(images).pooler_output
        torch.testing.assert_close(encoder(images)[0], wanted)
    encoder = TransformersTextEncoder(family, pretrained=str(tmp_path)).eval()
    assert encoder.model.config.model_type == f'{family}_text_model'
    with pytest.raises(ValueError, match="is a '.*' model, but the config says model_type='vit'"):
        TransformersImageEncoder(pretrained=str(tmp_path))


@pytest.mark.parametrize('family', towers.DUAL)
def test_a_checkpoint_of_a_dual_needs_no_folder(family, tmp_path):
    reference = towers.build(family, towers.DUAL[family])
    reference.save_pretrained(tmp_path)
    fields = dict(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.2, 0.2], size=32)
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(fields))
    cfg = config(
        str(tmp_path), DIMS[family], data_preprocessor=dict(type='ProductDataPreprocessor')
    )
    model = MODELS.build(copy.deepcopy(cfg)).eval()
    found = json.loads(json.dumps(encoder_architectures(model)))  # plain values
    use_saved_architecture(cfg, dict(encoders=found))
    assert cfg['pretrained_dual'] is None
    again = MODELS.build(cfg).eval()
    again.load_state_dict(model.state_dict())
    batch = model.data_preprocessor(fake_batch(vocab_size=60))
    same = again.data_preprocessor(fake_batch(vocab_size=60))
    for a, b in zip(model(**batch), again(**same), strict=True):
        torch.testing.assert_close(a, b)
    assert again.max_logit_scale == model.max_logit_scale
    assert again.network.patch_proj.kind == model.network.patch_proj.kind


@pytest.mark.parametrize('family', ['clip', 'siglip'])
def test_a_resumed_dual_writes_the_same_metadata_again(family, tmp_path):
    reference = towers.build(family, towers.DUAL[family])
    with torch.no_grad():
        reference.logit_scale.fill_(4.765)  # above max_logit_scale
    reference.save_pretrained(tmp_path)
    cfg = config(str(tmp_path), DIMS[family], patch_projection='separate')
    cfg['max_logit_scale'] = 100.0
    found = []
    for _ in range(3):
        model = MODELS.build(copy.deepcopy(cfg))
        found.append(json.loads(json.dumps(encoder_architectures(model))))
        resumed = copy.deepcopy(cfg)
        use_saved_architecture(resumed, dict(encoders=found[-1]))
        model = MODELS.build(copy.deepcopy(resumed))
        found.append(json.loads(json.dumps(encoder_architectures(model))))
        assert found[-1] == found[0]
        assert model.logit_bias == (None if family == 'clip' else reference.logit_bias.item())


def test_an_encoder_without_rules_can_be_saved():
    model = build(random_dual('clip'), 24)
    encoder = model.network.image_encoder = torch.nn.Module()
    encoder.model = torch.nn.Module()
    encoder.model.config = model.network.text_encoder.model.config
    assert encoder_architectures(model)['image_encoder'].keys() == {'model_type', 'config'}


def test_an_unknown_projection_is_named():
    with pytest.raises(KeyError, match=r"unknown keys \['txt'\]; known: image, text"):
        MODELS.build(tiny_model_config(projections=dict(txt='none')))


def test_padding_has_the_tokenizers_id(tmp_path):
    """A SigLIP 2 says nothing of padding in its config; its tokenizer pads with 0."""
    fields = {k: v for k, v in towers.TEXT['siglip_text_model'].items() if k != 'pad_token_id'}
    model = build_transformers_model('siglip_text_model', fields, None, False)
    model.save_pretrained(tmp_path)
    added = {'0': dict(content='<pad>'), '1': dict(content='<eos>')}
    tokenizer = dict(pad_token=dict(content='<pad>'), added_tokens_decoder=added)
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(tokenizer))
    encoder = TransformersTextEncoder('siglip_text_model', pretrained=str(tmp_path)).eval()
    assert encoder.model.config.pad_token_id == 0
    ids, mask = towers.texts(eos=1)
    seen = []
    encoder.model.register_forward_pre_hook(lambda _, a, k: seen.append(k), with_kwargs=True)
    encoder(ids, mask)
    assert seen[0].keys() == {'input_ids'} and (seen[0]['input_ids'][0, 5:] == 0).all()


def test_options_of_texts_that_exclude_one_another():
    fields = towers.TEXT['siglip_text_model']
    with pytest.raises(ValueError, match='length_groups=4 cuts padding'):
        TransformersTextEncoder('siglip_text_model', fields, length_groups=4)
    with pytest.raises(ValueError, match="padding='max'.*'longest', 'max_length'"):
        TransformersTextEncoder('siglip_text_model', fields, padding='max')
    with pytest.raises(ValueError, match='how far it is padded'):
        TransformersTextEncoder('bert', towers.BERT, use_mask=False)
    encoder = TransformersTextEncoder('siglip_text_model', fields)
    with pytest.raises(ValueError, match='texts of 17 tokens.*16 positions.*TokenizeText'):
        encoder(torch.ones(1, 17, dtype=torch.int64), torch.ones(1, 17, dtype=torch.int64))


@pytest.mark.parametrize('field', ['pad_token_id', 'max_position_embeddings'])
def test_filling_texts_needs_an_id_and_a_length(field):
    model = towers.build('siglip_text_model', towers.TEXT['siglip_text_model'])
    model.config.__dict__[field] = None
    with pytest.raises(ValueError, match=f'has no {field}: set text_encoder.config.{field}, or'):
        TransformersTextEncoder(model=model)


@pytest.mark.parametrize('mode', ['mean_tokens', 'cls_token', 'max_tokens'])
def test_a_model_of_sentence_transformers_says_its_pooling(mode, tmp_path):
    towers.build('bert', towers.BERT).save_pretrained(tmp_path)
    modes = ('cls_token', 'mean_tokens', 'max_tokens', 'mean_sqrt_len_tokens')
    fields = {f'pooling_mode_{name}': name == mode for name in modes}
    (tmp_path / '1_Pooling').mkdir()
    (tmp_path / '1_Pooling/config.json').write_text(
        json.dumps(dict(word_embedding_dimension=32, **fields))
    )
    if mode == 'max_tokens':
        with pytest.raises(ValueError, match=r"1_Pooling.*\['max_tokens'\].*text_encoder.pooling"):
            TransformersTextEncoder(pretrained=str(tmp_path))
        return
    encoder = TransformersTextEncoder(pretrained=str(tmp_path))
    assert encoder.pooling == dict(mean_tokens='mean', cls_token='cls')[mode]
    assert TransformersTextEncoder(pretrained=str(tmp_path), pooling='eos').pooling == 'eos'


@pytest.mark.ops
def test_a_detector_takes_its_backbone_from_a_dual(tmp_path):
    import eclip_mm.models.detection  # noqa: F401

    towers.build('siglip', towers.DUAL['siglip']).save_pretrained(tmp_path / 'dual')
    cfg = config(str(tmp_path / 'dual'), 32)
    model = MODELS.build(copy.deepcopy(cfg)).eval()
    meta = dict(cfg=f'model = {cfg!r}', encoders=encoder_architectures(model))
    path = str(tmp_path / 'c.pth')
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    backbone = MODELS.build(dict(type='EclipBackbone', init_cfg=init_cfg)).eval()
    backbone.init_weights()
    images = torch.randn(1, 3, 32, 32)
    tokens = model.network.image_encoder(images)[1]
    torch.testing.assert_close(backbone(images)[0].flatten(2).transpose(1, 2), tokens)
    backbone(torch.randn(1, 3, 40, 17))[0].sum().backward()
    assert not [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
