"""The parts of EclipDETR, by hand and against slow references."""

import math

import pytest
import torch
import torch.nn.functional as F

pytestmark = pytest.mark.ops


def grid_of(shape=(4, 8), stride=10, img_shapes=((40, 80),)):
    from eclip_mm.models.detection.token_grid import TokenGrid

    return TokenGrid.of(shape, stride, torch.tensor(img_shapes))


def test_a_cell_is_what_the_stride_says():
    """A picture of 40 x 70 in cells of 16: 3 x 5 of them, not cells of 14 pixels."""
    grid = grid_of((3, 5), 16, ((40, 70), (33, 32)))
    torch.testing.assert_close(grid.columns[0] * 70, torch.tensor([8.0, 24, 40, 56, 72]))
    torch.testing.assert_close(grid.rows[0] * 40, torch.tensor([8.0, 24, 40]))
    assert grid.positions.shape == (2, 15, 2)
    torch.testing.assert_close(grid.positions[0, 6] * torch.tensor([70.0, 40]),
                               torch.tensor([24.0, 24]))  # fmt: skip
    # the last cell of 33 pixels has one of them; of 32 pixels, the third begins outside
    assert not grid.padding[0].any()
    assert grid.padding[1].reshape(3, 5).tolist() == [[False, False, True, True, True]] * 3
    assert grid_of().padding is None
    tokens = torch.randn(2, 15, 7)
    as_map = grid.as_map(tokens)
    torch.testing.assert_close(as_map[1, :, 1, 1], tokens[1, 6])
    assert as_map.shape == (2, 7, 3, 5) and (as_map[1, :, :, 2:] == 0).all()


def test_boxes_of_assignments_by_hand():
    from eclip_mm.models.detection.references import assignment_boxes

    # a patch of 2 x 4 cells from (20, 10) on
    assign = torch.zeros(1, 4, 8, 2)
    assign[0, 1:3, 2:6, 0] = 0.5
    assign[..., 1] = 0.2
    boxes = assignment_boxes(assign.flatten(1, 2), grid_of().positions)[0]
    # cells have centres only: n of them spread as (n^2 - 1) / 12, so width sqrt(15) of 16 cells
    expected = [[0.5, 0.5, 15**0.5 / 8, 3**0.5 / 4], [0.5, 0.5, 63**0.5 / 8, 15**0.5 / 4]]
    torch.testing.assert_close(boxes, torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_boxes_are_moved_by_their_own_size():
    from eclip_mm.models.detection.references import move_boxes

    box = torch.tensor([0.3, 0.9, 0.2, 0.4])
    torch.testing.assert_close(move_boxes(box, torch.zeros(4)), box)
    moved = move_boxes(box, torch.tensor([0.5, -1.0, math.log(2), -math.log(4)]))
    torch.testing.assert_close(moved, torch.tensor([0.4, 0.5, 0.4, 0.1]))
    # at the edge of a picture, where a logit would saturate, offsets have a slope
    offsets = torch.zeros(4, requires_grad=True)
    move_boxes(torch.tensor([1.0, 0.0, 1.0, 1.0]), offsets).sum().backward()
    torch.testing.assert_close(offsets.grad, torch.ones(4))
    assert move_boxes(box, torch.full((4,), 1e9)).isfinite().all()


def test_position_bias_one_number_at_a_time():
    from eclip_mm.models.detection.query_places import BoxPositionBias

    torch.manual_seed(0)
    grid = grid_of((2, 3), 10, ((20, 25), (15, 30)))
    bias, boxes = BoxPositionBias(4), torch.rand(2, 5, 4)
    assert (bias(boxes, grid) == 0).all(), 'at the start'
    for network in (bias.along_x, bias.along_y):
        torch.nn.init.normal_(network[-1].weight)
    found = bias(boxes, grid)
    assert found.shape == (2, 6, 5)
    for b, (height, width) in enumerate(((20, 25), (15, 30))):
        for t in range(5):
            cx, cy, w, h = boxes[b, t]
            for row in range(2):
                for column in range(3):
                    total = 0
                    for network, place, centre, size, side in (
                        (bias.along_x, column, cx, w, width),
                        (bias.along_y, row, cy, h, height),
                    ):
                        # in cells: the token's centre less the edges of the box
                        d = place + 0.5 - (centre + torch.stack([-size, size]) / 2) * side / 10
                        total = total + network(d.sign() * torch.log2(1 + d.abs()) / 3)
                    torch.testing.assert_close(found[b, 3 * row + column, t], total[0])


def test_tokens_are_the_highest_local_maxima():
    from eclip_mm.models.detection.token_queries import gather_tokens, select_tokens

    scores = torch.tensor([[[0.9, 0.8, 0.1, 0.2], [0.1, 0.1, 0.1, 0.1], [0.1, 0.3, 0.1, 0.6]]])
    # maxima are 0.9, 0.6, 0.3 and 0.2; the best of the others is 0.8, beside 0.9
    assert select_tokens(scores, 5)[0].tolist() == [0, 11, 9, 3, 1]
    padded = torch.cat([scores, torch.full((1, 3, 1), -1.0)], dim=2)
    assert select_tokens(padded, 12)[0].sort().values.tolist() == [
        *range(4), *range(5, 9), *range(10, 14)
    ]  # fmt: skip
    assert select_tokens(scores[:, :1, :2], 5)[0].tolist() == [0, 1, 0, 1, 0]
    torch.manual_seed(0)
    grouped = select_tokens(scores, 2, num_groups=400)[0].reshape(400, 2)
    assert grouped[0].tolist() == [0, 11]
    # 0.9 against 0.8 with Gumbel noise on the logits: odds of 9 to 4 between these two
    first = grouped[1:, 0]
    odds = (first == 0).sum() / (first == 1).sum()
    assert 1.6 < odds < 3.2
    tokens = torch.arange(24.0).reshape(1, 12, 2)
    assert gather_tokens(tokens, torch.tensor([[3, 0]])).tolist() == [[[6, 7], [0, 1]]]


def picture(boxes, labels):
    from mmengine.structures import InstanceData

    return InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4).float(), labels=torch.tensor(labels).long()
    )


def test_targets_of_tokens_by_hand():
    from eclip_mm.models.detection.dense_branch import dense_targets

    # cells of 10 on 40 x 80; a large product, a smaller one in its middle, one smaller than a cell
    large, small, tiny = [0, 0, 80, 40], [40, 10, 60, 30], [2, 33, 6, 37]
    labels, boxes = dense_targets(
        grid_of().positions[0], picture([large, small, tiny], [4, 5, 6]), (40, 80), 0.5
    )
    # the middle half of the large one are columns 2 to 5 of rows 1 and 2, of which the small one
    # has 45 and 55, both at the edge of its middle
    assert labels.reshape(4, 8).tolist() == [
        [-1] * 8,
        [-1, -1, 4, 4, 5, 5, -1, -1],
        [-1, -1, 4, 4, 5, 5, -1, -1],
        [6] + [-1] * 7,
    ]
    torch.testing.assert_close(boxes[12] * torch.tensor([80.0, 40, 80, 40]),
                               torch.tensor([50.0, 20, 20, 20]))  # fmt: skip
    assert (boxes[labels < 0] == 0).all()
    labels, _ = dense_targets(grid_of().positions[0], picture([], []), (40, 80), 0.5)
    assert (labels == -1).all()


def dense_branch(**kwargs):
    from eclip_mm.models.detection import DenseBranch

    torch.manual_seed(0)
    return DenseBranch(embed_dims=8, num_classes=3, **kwargs)


def test_the_dense_branch_is_two_convolutions():
    branch, grid = dense_branch(), grid_of((4, 3), 8, ((32, 24), (20, 24)))
    tokens = torch.randn(2, 12, 8)
    out = branch(tokens, grid)
    x = tokens[1].T.reshape(1, 8, 4, 3)[:, :, :3]  # the fourth row is padding
    for conv in branch.convs:
        x = F.conv2d(x, conv[0].weight, padding=1)
        x = F.gelu(F.layer_norm(x.movedim(1, -1), (8,), conv[1].weight, conv[1].bias))
        x = x.movedim(-1, 1)
    torch.testing.assert_close(out.features[1, :9], x[0].flatten(1).T)
    torch.testing.assert_close(out.logits, branch.fc_cls(out.features))
    # at the start, edges are two cells of 8 from the token's centre
    torch.testing.assert_close(out.boxes[0, 4] * torch.tensor([24.0, 32, 24, 32]),
                               torch.tensor([12.0, 12, 32, 32]))  # fmt: skip
    scores = out.scores()
    assert scores.shape == (2, 4, 3) and (scores[1, 3] == -1).all() and (scores[0] > 0).all()
    other = tokens.clone()
    other[1, 9:] = 5.0
    torch.testing.assert_close(branch(other, grid).logits[1, :9], out.logits[1, :9])


@pytest.mark.parametrize('kind', ['mmdet.QualityFocalLoss', 'eclip_mm.OneHotFocalLoss'])
def test_losses_of_the_dense_branch_by_hand(kind):
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import bbox_overlaps

    branch = dense_branch(loss_cls=dict(type=kind))
    grid = grid_of((4, 3), 8, ((32, 24), (20, 24)))
    samples = [DetDataSample(metainfo=dict(img_shape=shape)) for shape in ((32, 24), (20, 24))]
    samples[0].gt_instances = picture([[5, 4, 13, 20]], [2])
    samples[1].gt_instances = picture([], [])
    out = branch(torch.randn(2, 12, 8), grid)
    losses = branch.loss(out, samples)
    # of the 12 + 9 tokens none has an x of 9 +- 2, so that the nearest, (12, 12), is positive
    wanted = torch.tensor([[5.0, 4, 13, 20]])
    edges = out.boxes[0, 4] * torch.tensor([24.0, 32, 24, 32])
    found = torch.cat([edges[:2] - edges[2:] / 2, edges[:2] + edges[2:] / 2])[None]
    scale = torch.tensor([24.0, 32, 24, 32])
    iou = bbox_overlaps(found, wanted)[0, 0].detach()
    total = 0
    for b, n, c in torch.cartesian_prod(torch.arange(2), torch.arange(12), torch.arange(3)):
        if b == 1 and n >= 9:
            continue
        logit = out.logits[b, n, c]
        p, positive = logit.sigmoid(), (b, n, c) == (0, 4, 2)
        target = (iou if kind.startswith('mmdet') else torch.tensor(1.0)) if positive else p * 0
        bce = -target * p.log() - (1 - target) * (1 - p).log()
        alpha = 1 if kind.startswith('mmdet') else 0.25 if positive else 0.75
        total = total + alpha * (target - p).abs() ** 2 * bce
    torch.testing.assert_close(losses['loss_dense_cls'], total)
    giou = bbox_overlaps(found / scale, wanted / scale, mode='giou')[0, 0]
    torch.testing.assert_close(losses['loss_dense_bbox'], 2 * (1 - giou))


def samples_of(*pictures, shape=(50, 40)):
    from mmdet.structures import DetDataSample

    samples = [DetDataSample(metainfo=dict(img_shape=shape)) for _ in pictures]
    for sample, truth in zip(samples, pictures, strict=True):
        sample.gt_instances = truth
    return samples


COSTS = [
    dict(type='mmdet.FocalLossCost', weight=2.0),
    dict(type='mmdet.BBoxL1Cost', weight=5.0, box_format='xywh'),
    dict(type='mmdet.IoUCost', iou_mode='giou', weight=2.0),
]


def test_a_batch_is_matched_as_mmdet_matches_each_group_of_each_picture():
    from mmdet.models.task_modules.assigners import HungarianAssigner
    from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
    from mmengine.structures import InstanceData

    from eclip_mm.models.detection.matching import Products, match_queries

    torch.manual_seed(0)
    assigner = HungarianAssigner(COSTS)
    truths = [picture([[0, 0, 9, 9], [5, 8, 20, 30], [1, 2, 30, 8]], [2, 0, 2]), picture([], []),
              picture([[3, 3, 8, 8]], [1])]  # fmt: skip
    products = Products.of(samples_of(*truths))
    assert products.counts == [3, 0, 1]
    logits, boxes = torch.randn(3, 8, 3), torch.rand(3, 8, 4) * 0.5
    found = match_queries(assigner.match_costs, logits, boxes, products, num_queries=4)
    firsts = [0, 3, 3]
    for b, truth in enumerate(truths):
        for group in (slice(0, 4), slice(4, 8)):
            scale = torch.tensor([40.0, 50, 40, 50])
            predictions = InstanceData(
                scores=logits[b, group], bboxes=bbox_cxcywh_to_xyxy(boxes[b, group]) * scale
            )
            wanted = assigner.assign(predictions, truth, dict(img_shape=(50, 40))).gt_inds - 1
            wanted = torch.where(wanted < 0, -1, wanted + firsts[b])
            assert torch.equal(found[b, group], wanted)
    with pytest.raises(ValueError, match='training has diverged'):
        match_queries(assigner.match_costs, logits * torch.nan, boxes, products, 4)


@pytest.mark.parametrize(
    'loss_cls',
    [
        None,
        dict(type='mmdet.QualityFocalLoss', beta=1.0),
        dict(type='mmdet.FocalLoss', loss_weight=2.0),
        dict(type='eclip_mm.OneHotFocalLoss', loss_weight=2.0),
    ],
)
def test_losses_are_those_of_mmdets_head(loss_cls):
    """With one group and boxes as DETR's: values and gradients."""
    from mmdet.models.dense_heads import DETRHead
    from mmengine.registry import DefaultScope

    from eclip_mm.models.detection import EclipDETRHead

    costs = (
        [dict(COSTS[0], type='mmdet.ClassificationCost'), *COSTS[1:]] if not loss_cls else COSTS
    )
    args = dict(
        num_classes=3,
        embed_dims=8,
        train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=costs)),
        test_cfg=dict(max_per_img=4),
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = EclipDETRHead(loss_cls=loss_cls, **args)
        # mmdet's class applies bg_cls_weight to its own softmax alone
        theirs = loss_cls or dict(type='CrossEntropyLoss', class_weight=1.0, bg_cls_weight=0.1)
        theirs = dict(theirs, type=theirs['type'].replace('eclip_mm.OneHot', 'mmdet.'))
        mmdets = DETRHead(loss_cls=theirs, **args)
    mmdets.fc_cls.load_state_dict(head.fc_cls.state_dict())
    samples = samples_of(picture([[0, 0, 9, 9], [5, 8, 20, 30]], [2, 0]), picture([], []))
    states, boxes = torch.randn(2, 2, 6, 8), torch.rand(2, 2, 6, 4) * 0.5
    instances, metas = [s.gt_instances for s in samples], [s.metainfo for s in samples]
    grads = []
    for model, loss in (
        (head, lambda boxes: head.loss(samples, 6, hidden_states=states, boxes=boxes)),
        (
            mmdets,
            lambda boxes: mmdets.loss_by_feat(mmdets.fc_cls(states), boxes, instances, metas),
        ),
    ):
        leaf = boxes.clone().requires_grad_()
        losses = loss(leaf)
        sum(losses.values()).backward()
        grads.append((losses, leaf.grad, model.fc_cls.weight.grad))
    torch.testing.assert_close(*grads)


def test_pictures_without_products_have_a_gradient():
    """DDP waits for the gradient of every parameter."""
    branch, samples = dense_branch(), samples_of(picture([], []), shape=(32, 24))
    losses = branch.loss(branch(torch.randn(1, 12, 8), grid_of((4, 3), 8, ((32, 24),))), samples)
    assert losses['loss_dense_bbox'] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in branch.parameters())
