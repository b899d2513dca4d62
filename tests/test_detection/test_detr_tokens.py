"""EclipDETR with queries from tokens: Eq. 1, groups, places, refinement."""

import pytest
import torch

from helpers.detection import batch, build_detector, detr_config, prepared

pytestmark = pytest.mark.ops
FULL = dict(
    query_source='tokens',
    dense_branch=dict(type='eclip_mm.DenseBranch'),
    position_bias=True,
    places=True,
    refine=True,
    num_groups=2,
    bbox_head=dict(
        type='eclip_mm.EclipDETRHead', num_classes=3, loss_cls=dict(type='QualityFocalLoss')
    ),
)


def build(checkpoint=None, **overrides):
    return build_detector(detr_config(checkpoint, **{**FULL, **overrides}))


def decoded(model, images):
    """What goes into the blocks and comes out of them."""
    samples = prepared(model, batch([tuple(images.shape[-2:])] * len(images)))['data_samples']
    found = []
    whole = model.run_blocks
    model.run_blocks = lambda *args: found.append(args) or whole(*args)
    features, dense = model.decode(model.extract_feat(images), samples)
    del model.run_blocks
    return found[0], features, dense


def test_token_queries_are_image_prompts_of_the_pretraining(pretraining):
    """Eq. 1 with the prompt sqrt(D) normalize(z_i): the decoder gives what it was trained to."""
    from eclip_mm.models.decoders import IMAGE, scale_prompts

    path, eclip = pretraining
    network = eclip.eval().network
    model = build(path, num_queries=4).eval()
    images = torch.randn(2, 3, 32, 32)
    (memory, queries, references, chosen, _, _), features, dense = decoded(model, images)
    tokens = network.encode_image(images)[1]
    torch.testing.assert_close(memory, tokens)
    scores = dense.scores().flatten(1)
    for b in range(2):
        assert chosen[b, 0] == scores[b].argmax()
        prompts = scale_prompts(tokens[b, chosen[b]])[None]
        modality = torch.full((1, 4), IMAGE)
        torch.testing.assert_close(queries[b], network.queries(prompts, modality)[0])
        torch.testing.assert_close(references[b], dense.boxes[b, chosen[b]])
    # neither bias, places nor groups change anything before they are trained
    torch.testing.assert_close(features['hidden_states'][-1], network.decoder(tokens, queries)[0])
    torch.testing.assert_close(features['boxes'], references.expand(2, -1, -1, -1))


def test_evidence_is_the_own_token_and_the_mean_by_squared_assignment(pretraining):
    model = build(pretraining[0], num_queries=3).eval()
    (memory, queries, _, chosen, _, grid), features, dense = decoded(
        model, torch.randn(2, 3, 32, 32)
    )
    _, maps = model.decoder.forward_blocks(memory, queries, grid.padding)
    for block in range(2):
        for t in range(3):
            weights = maps[block][1, :, t] ** 2
            pooled = sum(w * v for w, v in zip(weights, dense.features[1], strict=True))
            wanted = pooled / weights.sum() + dense.features[1, chosen[1, t]]
            torch.testing.assert_close(features['evidence'][block, 1, t], wanted)
    logits, _ = model.bbox_head(**features)
    head = model.bbox_head
    torch.testing.assert_close(
        logits, head.fc_cls(features['hidden_states']) + head.fc_evidence(features['evidence'])
    )


def trained(model):
    """Every zero of the start replaced, as a training does."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if (parameter == 0).all():
                parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize('softmax_over', ['queries', 'tokens'])
def test_groups_do_not_see_each_other(pretraining, softmax_over):
    model = trained(build(pretraining[0], decoder=dict(softmax_over=softmax_over))).train()
    images = torch.randn(2, 3, 32, 32)
    (memory, queries, references, chosen, dense, grid), features, _ = decoded(model, images)
    assert queries.shape == (2, 12, 32) and features['boxes'].shape == (2, 2, 12, 4)
    for group in (slice(0, 6), slice(6, 12)):
        alone = model.run_blocks(
            memory, queries[:, group], references[:, group], chosen[:, group], dense, grid
        )
        for name, value in alone.items():
            torch.testing.assert_close(value, features[name][:, :, group])
    model.eval()
    assert decoded(model, images)[1]['boxes'].shape == (2, 2, 6, 4), 'predictions: one group'


def test_a_block_starts_from_the_last_box_or_from_the_first(pretraining):
    from eclip_mm.models.detection.references import move_boxes

    images = torch.randn(2, 3, 32, 32)
    for refine in (True, False):
        model = build(pretraining[0], refine=refine).eval()
        offsets = torch.tensor([0.1, -0.2, 0.3, 0.4])
        torch.nn.init.zeros_(model.bbox_head.fc_reg.weight)
        model.bbox_head.fc_reg.bias.data.copy_(offsets)
        (_, _, references, *_), features, _ = decoded(model, images)
        first = move_boxes(references, offsets.expand_as(references))
        torch.testing.assert_close(features['boxes'][0], first)
        second = move_boxes(first, offsets.expand_as(first)) if refine else first
        torch.testing.assert_close(features['boxes'][1], second)


def test_places_make_equal_queries_different(pretraining):
    """Of two with the same tokens, each attends to other queries, as its box says."""
    images = torch.randn(1, 3, 32, 32)
    for places in (False, True):
        model = trained(build(pretraining[0], places=places, position_bias=False)).eval()
        (memory, queries, references, chosen, dense, grid), *_ = decoded(model, images)
        queries[:, 1], chosen[:, 1] = queries[:, 0], chosen[:, 0]
        found = model.run_blocks(memory, queries, references, chosen, dense, grid)
        same = torch.allclose(
            found['hidden_states'][..., 0, :], found['hidden_states'][..., 1, :], atol=1e-5
        )
        assert same != places


def test_losses_reach_every_part(pretraining):
    model = build(pretraining[0], num_extra_blocks=1, backbone=dict(
        type='eclip_mm.EclipBackbone', out_layers=[0])).train()  # fmt: skip
    data = prepared(model, batch())
    losses = model.loss(data['inputs'], data['data_samples'])
    blocks = {f'{d}loss_{n}' for d in ('', 'd0.', 'd1.') for n in ('cls', 'bbox', 'iou')}
    assert set(losses) == blocks | {'loss_dense_cls', 'loss_dense_bbox'}
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_one_class_and_few_tokens_are_enough(pretraining):
    head = dict(FULL['bbox_head'], num_classes=1)
    model = build(pretraining[0], num_queries=9, bbox_head=head,
                  test_cfg=dict(max_per_img=100)).eval()  # fmt: skip
    data = model.data_preprocessor(batch(((16, 16),)))
    found = model.predict(data['inputs'], data['data_samples'])[0].pred_instances
    assert len(found) == 9 and (found.labels == 0).all()


def test_settings_that_do_not_fit(pretraining):
    with pytest.raises(ValueError, match='set dense_branch=dict'):
        build(pretraining[0], dense_branch=None)
    with pytest.raises(ValueError, match="query_source must be 'learned' or 'tokens'"):
        build(pretraining[0], query_source='names')
    head = dict(FULL['bbox_head'], loss_cls=dict(type='QualityFocalLoss', bg_cls_weight=0.1))
    with pytest.raises(ValueError, match='a sigmoid has no background'):
        build(pretraining[0], bbox_head=head)
