"""EclipDETR: pretrained parts, losses of every block, boxes of assignments."""

import copy

import pytest
import torch

from helpers import towers
from helpers.detection import NAMES, batch, prepared
from helpers.detection import build_detector as build
from helpers.detection import detr_config as config

pytestmark = pytest.mark.ops


def test_it_starts_as_the_pretrained_model(pretraining):
    """Same tokens, same prompts: the decoder gives what the pretrained one gives."""
    from eclip_mm.models.decoders import TEXT

    path, eclip = pretraining
    model = build(config(path, num_queries=4)).eval()
    network = eclip.eval().network
    images = torch.randn(2, 3, 32, 32)
    _, tokens, _ = network.encode_image(images)
    prompts = torch.randn(2, 4, 32)
    modality = torch.full((2, 4), TEXT)
    feats, maps = network.decode(tokens, prompts, modality)

    memory, grid = tokens_of(model, images)
    torch.testing.assert_close(memory, tokens)  # positions are projected to zero at the start
    queries = network.queries(prompts, modality)
    out = model.run_blocks(memory, queries, None, None, None, grid)['hidden_states']
    assert out.shape == (2, 2, 4, 32)
    torch.testing.assert_close(out[-1], feats)


def tokens_of(model, images):
    """Z and its grid."""
    found = {}
    model.run_blocks, kept = (
        lambda memory, *args: found.update(z=memory, grid=args[-1]),
        (model.run_blocks),
    )
    samples = prepared(model, batch([tuple(images.shape[-2:])] * len(images)))['data_samples']
    model.decode(model.extract_feat(images), samples)
    model.run_blocks = kept
    return found['z'], found['grid']


def saved_dual(path, family, **overrides):
    """A checkpoint of a random dual encoder, and the model in it."""
    from mmengine.config import Config

    from eclip_mm.checkpoint.metadata import encoder_architectures
    from eclip_mm.registry import MODELS
    from eclip_mm.testing import tiny_model_config

    cfg = tiny_model_config(
        embed_dims=dict(clip=24, siglip=32)[family],
        pretrained_dual=dict(model_type=family, config=towers.DUAL[family]),
        **overrides,
    )
    for name in ('image', 'text'):
        cfg[f'{name}_encoder'] = dict(type=f'Transformers{name.title()}Encoder')
    torch.manual_seed(3)
    model = MODELS.build(copy.deepcopy(cfg)).eval()
    meta = dict(cfg=Config(dict(model=cfg)).pretty_text, encoders=encoder_architectures(model))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return model


@pytest.mark.parametrize(
    'family, kind', [('clip', 'shared'), ('clip', 'separate'), ('siglip', 'separate')]
)
def test_it_starts_with_the_patch_projection_of_its_pretraining(family, kind, tmp_path):
    path = str(tmp_path / 'dual.pth')
    eclip = saved_dual(path, family, patch_projection=kind)
    if kind == 'separate':
        linear = eclip.network.patch_proj.linear
        torch.nn.init.normal_(linear.weight)
        if linear.bias is not None:
            torch.nn.init.normal_(linear.bias)
        saved = torch.load(path, weights_only=True)
        torch.save(dict(saved, state_dict=eclip.state_dict()), path)
    model = build(config(path)).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(tokens_of(model, images)[0], eclip.network.encode_image(images)[1])


def test_a_projection_that_it_cannot_have_is_an_error(tmp_path):
    path = str(tmp_path / 'dual.pth')
    saved_dual(path, 'siglip', patch_projection='head')
    with pytest.raises(ValueError, match="trained with patch_projection='head'"):
        build(config(path))
    saved = torch.load(path, weights_only=True)
    saved['meta']['encoders']['model']['patch_projection'] = 'shared'
    torch.save(saved, path)
    with pytest.raises(ValueError, match='no linear map of patch tokens'):
        build(config(path))


def test_with_names_it_begins_where_grounding_ends(pretraining, with_tokenizer):
    """Its queries are the prompts of the names, its logits the similarities of Eq. 9."""
    import torch.nn.functional as F

    from eclip_mm.models.decoders import TEXT, scale_prompts

    network, scale = pretraining[1].eval().network, pretraining[1].logit_scale.exp()
    path, tokenizer = with_tokenizer
    ids = [torch.tensor([tokenizer(name, max_length=55)]) for name in NAMES]
    with torch.no_grad():
        texts = torch.cat([network.encode_text(i, torch.ones_like(i)) for i in ids])
        tokens = network.encode_image(torch.randn(1, 3, 32, 32))[1]
        queries = network.queries(scale_prompts(texts)[None], torch.full((1, 4), TEXT))
        feats, _ = network.decoder(tokens, queries)

    head = dict(type='eclip_mm.EclipDETRHead', num_classes=4)
    cfg = config(path, class_prompts=NAMES, num_queries=6, num_extra_blocks=2, bbox_head=head)
    model = build(cfg).eval()
    torch.testing.assert_close(model.query_embedding.weight[:4], queries[0])
    # the fifth query is the first name again, at the place that comes then
    num_places = len(network.queries.pos_embed)
    other_place = network.queries.pos_embed[4 % num_places] - network.queries.pos_embed[0]
    torch.testing.assert_close(model.query_embedding.weight[4], queries[0, 0] + other_place)
    logits = model.bbox_head.fc_cls(feats)
    expected = scale * F.normalize(feats, dim=-1) @ texts.T
    # LayerNorm adds 1e-5 to the variance: a norm of sqrt(D) to that share
    torch.testing.assert_close(logits[..., :4], expected, rtol=1e-4, atol=1e-4)
    assert (logits[..., 4] == 0).all()
    # blocks behind the pretrained ones change nothing yet
    states, maps = model.decoder.forward_blocks(tokens, queries)
    torch.testing.assert_close(model.decoder.norm_out(states[-1]), feats)
    assert len(states) == 4 and not torch.equal(maps[0], maps[1])
    torch.testing.assert_close(maps[3], maps[2])


def test_names_that_do_not_fit(pretraining, with_tokenizer):
    path = with_tokenizer[0]
    with pytest.raises(ValueError, match='4 names, bbox_head.num_classes is 3'):
        build(config(path, class_prompts=NAMES))
    with pytest.raises(ValueError, match='num_queries=2 is too small for 3'):
        build(config(path, class_prompts=NAMES[:3], num_queries=2))
    with pytest.raises(ValueError, match='set init_cfg'):
        build(config(class_prompts=NAMES))
    with pytest.raises(ValueError, match='holds no tokenizer'):
        build(config(pretraining[0], class_prompts=NAMES[:3]))


def test_names_need_the_text_encoder(with_tokenizer, tmp_path):
    saved = torch.load(with_tokenizer[0], weights_only=True)
    saved['state_dict'] = {k: v for k, v in saved['state_dict'].items() if '.text_' not in k}
    torch.save(saved, tmp_path / 'stripped.pth')
    with pytest.raises(KeyError, match='has no text_encoder and no text_proj'):
        build(config(str(tmp_path / 'stripped.pth'), class_prompts=NAMES[:3]))


def test_names_of_a_coco_file(with_tokenizer, tmp_path):
    import json

    file = tmp_path / 'train.json'
    # a title comes before a name, which may be an id
    categories = [dict(id=i, name=name) for i, name in enumerate(NAMES)]
    categories[1] = dict(id=1, name='B07', text=NAMES[1])
    file.write_text(json.dumps(dict(categories=categories)))
    head = dict(type='eclip_mm.EclipDETRHead', num_classes=4)
    models = [
        build(config(with_tokenizer[0], class_prompts=names, bbox_head=head))
        for names in (NAMES, str(file))
    ]
    torch.testing.assert_close(*[model.state_dict() for model in models])


def test_losses_of_every_block_reach_every_part(pretraining):
    model = build(config(pretraining[0], num_extra_blocks=1)).train()
    data = prepared(model, batch())
    losses = model.loss(
        **{'batch_inputs': data['inputs'], 'batch_data_samples': data['data_samples']}
    )
    assert set(losses) == {
        f'{block}{term}'
        for block in ('', 'd0.', 'd1.')
        for term in ('loss_cls', 'loss_bbox', 'loss_iou')
    }
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_bf16_keeps_boxes_in_float32(pretraining):
    model = build(config(pretraining[0])).train()
    data = prepared(model, batch())
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(data['inputs'], data['data_samples'])
        scores, boxes = model._forward(data['inputs'], data['data_samples'])
    assert scores.dtype == boxes.dtype == torch.float32
    assert all(value.isfinite() for value in losses.values())
    # matching may choose another of several equal queries: boxes are compared, not losses; in
    # shares of the picture. About ten products in a row round by 2^-8 = 0.004 each
    exact = model._forward(data['inputs'], data['data_samples'])[1]
    torch.testing.assert_close(boxes, exact, atol=0.04, rtol=0)


def test_padding_changes_nothing_for_the_decoder(pretraining):
    """Cells of padding: other content, same result."""
    for softmax_over in ('queries', 'tokens'):
        cfg = config(pretraining[0], decoder=dict(softmax_over=softmax_over))
        model = build(cfg).eval()
        data = prepared(model, batch(((32, 32), (64, 64))))
        feats = model.extract_feat(data['inputs'])
        other = feats[0].clone()
        other[0, :, 4:] += 7.0
        other[0, :, :, 4:] -= 3.0
        outs = [
            model.forward_transformer((f,), data['data_samples'])['hidden_states']
            for f in (feats[0], other)
        ]
        torch.testing.assert_close(outs[0][:, 0], outs[1][:, 0])
        assert not torch.isnan(outs[0]).any()


def test_from_clip_the_decoder_starts_anew(clip_checkpoint):
    from eclip_mm.models.detection import load_pretrained

    model = build(config(clip_checkpoint))
    assert len(model.decoder.blocks) == 2  # as the config in the checkpoint says
    report = load_pretrained(
        dict(image_proj=model.image_proj, decoder=model.decoder), clip_checkpoint
    )
    assert report.loaded == dict(image_proj=2, decoder=0)
    assert len(report.new) == len(model.decoder.state_dict())


def test_predictions_are_boxes_of_the_original_picture(pretraining):
    model = build(config(pretraining[0])).eval()
    data = batch(((32, 40),))
    data['data_samples'][0].set_metainfo(dict(ori_shape=(16, 20), scale_factor=(2.0, 2.0)))
    data = model.data_preprocessor(data)
    (sample,) = model.predict(data['inputs'], data['data_samples'])
    boxes = sample.pred_instances.bboxes
    assert boxes.shape == (6, 4) and boxes[:, 0::2].max() <= 20 and boxes[:, 1::2].max() <= 16
    assert (sample.pred_instances.scores.diff() <= 0).all()


@pytest.mark.slow
def test_it_learns_where_a_picture_is_bright():
    """A white square on noise, of 60 steps from scratch: boxes overlap it."""
    from mmengine.structures import InstanceData

    encoder = dict(
        type='TransformersImageEncoder',
        model_type='dinov2',
        config=dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=32,
                    patch_size=8),
    )  # fmt: skip
    cfg = config(
        backbone=dict(type='eclip_mm.EclipBackbone', encoder=encoder),
        decoder=dict(embed_dims=32, num_blocks=2, num_heads=4),
    )
    model = build(cfg).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)

    def step(count=8):
        data = batch([(64, 64)] * count)
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            x, y = torch.randint(0, 32, (2,), generator=generator).tolist()
            image.copy_(torch.rand(3, 64, 64, generator=generator) * 0.3)
            image[:, y : y + 24, x : x + 32] = 2.0
            sample.gt_instances = InstanceData(
                bboxes=torch.tensor([[x, y, x + 32.0, y + 24.0]]), labels=torch.tensor([0])
            )
        return prepared(model, data)

    for _ in range(60):
        data = step()
        losses = model.loss(data['inputs'], data['data_samples'])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    from mmdet.structures.bbox import bbox_overlaps

    model.eval()
    data = step(16)
    truth = torch.cat([s.gt_instances.bboxes for s in data['data_samples']])
    samples = model.predict(data['inputs'], data['data_samples'])
    best = torch.stack([s.pred_instances.bboxes[0] for s in samples])
    assert bbox_overlaps(best, truth, is_aligned=True).mean() > 0.5
