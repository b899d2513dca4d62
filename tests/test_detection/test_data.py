"""COCO boxes in and out: faults, classes, the way to the catalogue and back, mAP by hand."""

import json

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

from eclip_mm.datasets.converters import convert_catalogue_boxes, convert_coco
from eclip_mm.datasets.converters.coco_check import check_coco
from helpers.detection import coco


def broken():
    boxes = dict(
        zero=(1, 7, [5, 5, 0, 10]),
        outside=(1, 7, [40, 5, 10, 10]),
        category=(2, 99, [5, 5, 10, 10]),
        image=(9, 7, [5, 5, 10, 10]),
    )
    return coco(
        images=[dict(id=3, file_name='gone.png', width=40, height=30)],
        annotations=[
            dict(id=10 + k, image_id=i, category_id=c, bbox=b, area=b[2] * b[3], iscrowd=0)
            for k, (i, c, b) in enumerate(boxes.values())
        ],
    )


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for k in (1, 2):
        pixels = rng.integers(0, 255, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'{k}.png')
    (tmp_path / 'good.json').write_text(json.dumps(coco()))
    (tmp_path / 'broken.json').write_text(json.dumps(broken()))
    return tmp_path


def test_every_fault_is_named_once(folder):
    checked = check_coco(broken(), 'a.json', folder)
    faults = checked.faults
    assert {kind: len(texts) for kind, texts in faults.faults.items()} == {
        'missing file': 1,
        'zero area': 1,
        'outside the image': 1,
        'unknown category': 1,
        'unknown image': 1,
    }
    assert [a['id'] for a in checked.annotations] == [1, 2, 3] and list(checked.images) == [1, 2]
    text = str(faults)
    assert 'gone.png' in text and 'category 99' in text and '[40, 5, 10, 10]' in text
    assert 'no fault' in str(check_coco(coco(), 'a.json', folder).faults)


def dataset(folder, name, **kwargs):
    from eclip_mm.datasets.detection import CocoProducts

    with DefaultScope.overwrite_default_scope('mmdet'):
        return CocoProducts(
            ann_file=name, data_root=str(folder), data_prefix=dict(img=''), **kwargs
        )


@pytest.mark.ops
def test_classes_are_the_files(folder):
    data = dataset(folder, 'good.json', serialize_data=False)
    assert data.metainfo['classes'] == ('chips', 'wafer')
    assert [[i['bbox_label'] for i in info['instances']] for info in data.data_list] == [
        [0, 1], [0]
    ]  # fmt: skip
    lazy = dataset(folder, 'good.json', lazy_init=True)  # as DetInferencer asks for the palette
    assert lazy.metainfo['classes'] == ('chips', 'wafer')
    only = dataset(folder, 'good.json', metainfo=dict(classes=('wafer',)))
    assert [len(only[k]['instances']) for k in range(2)] == [1, 0]
    assert dataset(folder, 'good.json').metainfo['classes'] == ('chips', 'wafer')


@pytest.mark.ops
def test_faults_are_left_out_or_fatal(folder):
    data = dataset(folder, 'broken.json', test_mode=True)
    assert len(data) == 2 and sum(len(data[k]['instances']) for k in range(2)) == 3
    with pytest.raises(ValueError, match='1 boxes without area'):
        dataset(folder, 'broken.json', strict=True)


def evaluate(folder, name, predictions, kind='DetectionMAP', **kwargs):
    """A metric on {image id: [(xyxy, score, label)]}."""
    import eclip_mm.evaluation.metrics.detection_recall  # noqa: F401
    from eclip_mm.registry import METRICS

    with DefaultScope.overwrite_default_scope('mmdet'):
        metric = METRICS.get(f'eclip_mm.{kind}')(ann_file=str(folder / name), **kwargs)
    metric.dataset_meta = dict(classes=('chips', 'wafer'))
    samples = [
        dict(
            img_id=img_id,
            ori_shape=(30, 40),
            pred_instances=dict(
                bboxes=torch.tensor([b for b, _, _ in found], dtype=torch.float32).reshape(-1, 4),
                scores=torch.tensor([s for _, s, _ in found]),
                labels=torch.tensor([c for _, _, c in found], dtype=torch.long),
            ),
        )
        for img_id, found in predictions.items()
    ]
    metric.process({}, samples)
    return metric.evaluate(len(samples))


#: of chips: IoU 1, then 0.4 (10 x 10 against the left 4 columns); of wafer: IoU 1 behind a miss
FOUND = {
    1: [
        ([0, 0, 10, 10], 0.9, 0),
        ([20, 10, 40, 30], 0.5, 1),
        ([0, 20, 10, 30], 0.8, 1),
    ],
    2: [([-5, 5, 1, 15], 0.7, 0)],
}


@pytest.mark.ops
def test_map_by_hand(folder):
    figures = evaluate(folder, 'good.json', FOUND, classwise=True)
    # chips: two boxes, both found at 0.3: AP 1. At 0.5 the first only: precision 1 up to recall
    # 0.5, that is 51 of COCO's 101 recalls. wafer: the right one comes second: precision 1/2.
    assert figures['detection/AP@0.3/chips'] == pytest.approx(1)
    assert figures['detection/AP@0.5/chips'] == pytest.approx(51 / 101)
    assert figures['detection/AP@0.5/wafer'] == pytest.approx(0.5)
    assert figures['detection/mAP@0.3'] == pytest.approx(0.75)
    assert figures['detection/mAP@0.5'] == pytest.approx((51 / 101 + 0.5) / 2)
    assert figures['detection/num_boxes'] == 3


@pytest.mark.ops
def test_classes_aside_by_hand(folder):
    # in the order of scores: right, miss, the box of IoU 0.4 (right at 0.3, a miss at 0.5), right.
    # Classes exchanged change nothing
    exchanged = {
        image: [(box, score, 1 - label) for box, score, label in found]
        for image, found in FOUND.items()
    }
    for predictions in (FOUND, exchanged):
        figures = evaluate(folder, 'good.json', predictions, class_agnostic=True)
        # recall 1/3 at precision 1, 2/3 at 2/3, 1 at 3/4 (which also holds for 2/3): of COCO's
        # 101 recalls 34 lie in [0, 1/3] and 67 above
        assert figures['detection/any_class_AP@0.3'] == pytest.approx((34 + 67 * 3 / 4) / 101)
        # recall 1/3 at 1, 2/3 at 2/4: 33 recalls in (1/3, 2/3]
        assert figures['detection/any_class_AP@0.5'] == pytest.approx((34 + 33 / 2) / 101)
    assert figures['detection/mAP@0.5'] < 0.1
    assert 'detection/any_class_AP@0.5' not in evaluate(folder, 'good.json', FOUND)


@pytest.mark.ops
def test_map_against_cocos_own_summary(folder):
    """One threshold at a time is what pycocotools' first summary slot holds."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    figures = evaluate(folder, 'good.json', FOUND)
    truth = COCO(str(folder / 'good.json'))
    results = [
        dict(
            image_id=image,
            category_id=(7, 3)[label],
            bbox=[x1, y1, x2 - x1, y2 - y1],
            score=score,
        )
        for image, found in FOUND.items()
        for (x1, y1, x2, y2), score, label in found
    ]
    for thr in (0.3, 0.5):
        evaluation = COCOeval(truth, truth.loadRes([dict(r) for r in results]), 'bbox')
        evaluation.params.iouThrs = np.array([thr])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(figures[f'detection/mAP@{thr}']) != -1


@pytest.mark.ops
def test_broken_boxes_cost_nothing_and_no_find_is_zero(folder):
    assert evaluate(folder, 'broken.json', FOUND) == evaluate(folder, 'good.json', FOUND)
    nothing = evaluate(folder, 'good.json', {1: [], 2: []})
    assert nothing['detection/mAP@0.3'] == nothing['detection/mAP@0.5'] == 0


@pytest.mark.ops
def test_recall_of_proposals_by_hand(folder):
    figures = evaluate(folder, 'broken.json', FOUND, kind='ProposalRecall', counts=(1, 2, 9))
    # best first in image 1: the first box, a miss, the second box. In image 2 the box and its
    # proposal are clipped to the picture: 10 columns against 1.
    for count, right in ((1, 1), (2, 1), (9, 2)):
        assert figures[f'proposals/recall@0.5/{count}'] == pytest.approx(right / 3)
    assert figures['proposals/num_boxes'] == 3
    with pytest.raises(ValueError, match='no evaluated picture has a box'):
        empty = dict(coco(), annotations=[])
        (folder / 'empty.json').write_text(json.dumps(empty))
        evaluate(folder, 'empty.json', FOUND)


def test_to_the_catalogue_and_back(folder):
    """Boxes, sizes and categories are the same; a frame of two products is one image again."""
    convert_coco(folder / 'good.json', folder, folder / 'c.parquet')
    report = convert_catalogue_boxes(
        folder / 'c.parquet', folder / 'back.json', folder / 'pictures'
    )
    assert (report.num_images, report.num_boxes, report.num_repeated) == (2, 3, 1)
    back = json.loads((folder / 'back.json').read_text())
    names = {c['id']: c['name'] for c in back['categories']}
    assert sorted(names.values()) == ['3', '7']  # category ids became product ids
    assert {c['name']: c['text'] for c in back['categories']} == {'3': 'wafer', '7': 'chips'}
    boxes = sorted((names[a['category_id']], a['bbox']) for a in back['annotations'])
    # the third box is clipped to the image
    assert boxes == [('3', [20, 10, 20, 20]), ('7', [0, 0, 10, 10]), ('7', [0, 5, 10, 10])]
    stored = {(folder / 'pictures' / i['file_name']).read_bytes() for i in back['images']}
    assert stored == {(folder / f'{k}.png').read_bytes() for k in (1, 2)}
    assert not check_coco(back, 'back.json', folder / 'pictures').faults.lines()


def test_one_class_and_unlisted_products(folder):
    convert_coco(folder / 'good.json', folder, folder / 'c.parquet')
    convert_catalogue_boxes(folder / 'c.parquet', folder / 'o.json', folder / 'p', 'object')
    data = json.loads((folder / 'o.json').read_text())
    assert [c['name'] for c in data['categories']] == ['object']
    assert {a['category_id'] for a in data['annotations']} == {1}
    few = {**coco(), 'categories': coco()['categories'][:1]}
    (folder / 'few.json').write_text(json.dumps(few))
    convert_coco(folder / 'few.json', folder, folder / 'few.parquet')
    report = convert_catalogue_boxes(
        folder / 'c.parquet', folder / 'f.json', folder / 'p', products=folder / 'few.parquet'
    )
    assert report.num_boxes == 2 and "box of '3', which is no product" in str(report)
