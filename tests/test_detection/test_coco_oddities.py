"""Odd but real COCO files in training and evaluation: a perfect detector scores 1 on all."""

import json

import pytest
import torch
from hypothesis import given, settings
from mmengine.registry import DefaultScope

from helpers.coco_cases import CASES, EMPTY, NO_COCO, Case, sound, write_pictures
from helpers.coco_fuzz import changed_files

pytestmark = pytest.mark.ops


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp('pictures'))


def dataset(path, pictures, **kwargs):
    from eclip_mm.datasets.detection import CocoProducts

    with DefaultScope.overwrite_default_scope('mmdet'):
        return CocoProducts(
            ann_file=str(path), data_prefix=dict(img=str(pictures)), serialize_data=False,
            **{'test_mode': True, **kwargs},
        )  # fmt: skip


def figures(path, classes, found, **kwargs):
    """Figures of detections, each with score 1: {image id: [(xyxy, label)]}."""
    import eclip_mm.evaluation.metrics.detection_recall  # noqa: F401
    from eclip_mm.registry import METRICS

    with DefaultScope.overwrite_default_scope('mmdet'):
        metric = METRICS.get('eclip_mm.DetectionMAP')(ann_file=str(path), **kwargs)
    metric.dataset_meta = dict(classes=classes)
    samples = [
        dict(
            img_id=img_id,
            ori_shape=(30, 40),
            pred_instances=dict(
                bboxes=torch.tensor([b for b, _ in boxes], dtype=torch.float32).reshape(-1, 4),
                scores=torch.ones(len(boxes)),
                labels=torch.tensor([label for _, label in boxes], dtype=torch.long),
            ),
        )
        for img_id, boxes in found.items()
    ]
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def perfect(data):
    return {
        info['img_id']: [
            (i['bbox'], i['bbox_label']) for i in info['instances'] if not i['ignore_flag']
        ]
        for info in data.data_list
    }


@pytest.mark.parametrize('case', [c for c in CASES if not c.pictures], ids=lambda case: case.name)
def test_a_perfect_detector_scores_one(case: Case, pictures, tmp_path):
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(case.data()))
    data = dataset(path, pictures)
    found = perfect(data)
    assert sum(map(len, found.values())) == len(case.kept)
    named = {k: len(v) for k, v in (data.faults.faults | data.faults.notes).items()}
    assert named == {k: v for k, v in case.kinds.items() if k != 'crowd'}
    values = figures(path, data.metainfo['classes'], found, classwise=True)
    assert values['detection/mAP@0.5'] == values['detection/mAP@0.3'] == pytest.approx(1)
    assert values['detection/num_boxes'] == len(case.kept)


@pytest.mark.parametrize('text', NO_COCO, ids=lambda text: text[:20])
def test_no_coco_file_is_one_line(text, pictures, tmp_path):
    path = tmp_path / 'coco.json'
    path.write_text(text)
    for build in (lambda: dataset(path, pictures), lambda: figures(path, ('mug',), {})):
        with pytest.raises(ValueError, match=NO_COCO[text]) as error:
            build()
        assert '\n' not in str(error.value)


def test_nothing_to_train_with_is_an_error(pictures, tmp_path):
    path = tmp_path / 'coco.json'
    for name, match in (
        ('images', 'no image can be used'),
        ('categories', 'no category can be used'),
        ('annotations', 'no box can be used'),
        ('no annotations', 'no box can be used'),
    ):
        path.write_text(EMPTY[name])
        with pytest.raises(ValueError, match=match):
            dataset(path, pictures, test_mode=False)
    assert len(dataset(path, pictures)) == 2, 'pictures without boxes can be looked at'


def test_the_number_0_of_an_annotation_is_found(pictures, tmp_path):
    """pycocotools takes 0 for a box that no detection has found."""
    data = sound()
    for number, annotation in enumerate(data['annotations']):
        annotation['id'] = number
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(data))
    found = perfect(dataset(path, pictures))
    assert figures(path, ('mug', 'pot'), found)['detection/mAP@0.5'] == pytest.approx(1)


@pytest.mark.parametrize('classes', [('mug', 'pot', 'lid'), ('lid', 'pot', 'mug'), ('pot', 'mug')])
@pytest.mark.parametrize('ids', [(1, 2), (2, 1), ('a', 'b'), ('7', 'b')])
def test_labels_mean_names_whatever_the_order_of_the_file(classes, ids, pictures, tmp_path):
    data = sound()
    for entry, number in zip(data['categories'], ids, strict=True):
        entry['id'] = number
    for entry in data['annotations']:
        entry['category_id'] = ids[entry['category_id'] - 1]
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(data))
    labels = [classes.index(name) for name in ('mug', 'pot', 'mug')]
    found = {1: [((4, 4, 24, 24), labels[0])],
             2: [((2, 6, 32, 26), labels[1]), ((10, 0, 28, 18), labels[2])]}  # fmt: skip
    assert perfect(dataset(path, pictures, metainfo=dict(classes=classes))) == {
        image: [(list(map(float, box)), label) for box, label in boxes]
        for image, boxes in found.items()
    }
    values = figures(path, classes, found, classwise=True)
    for name in ('mAP@0.5', 'AP@0.5/mug', 'AP@0.5/pot'):
        assert values[f'detection/{name}'] == pytest.approx(1)
    assert 'detection/AP@0.5/lid' not in values, 'a class without a box has no figure'


def test_files_that_do_not_belong_together(pictures, tmp_path):
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(sound()))
    with pytest.raises(ValueError, match=r'none of its categories \(mug, pot\) is a class'):
        figures(path, ('cup',), {1: []})
    with pytest.raises(ValueError, match='does not list the picture 5 that was evaluated'):
        figures(path, ('mug', 'pot'), {1: [], 5: []})


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzz') / 'coco.json'


@settings(max_examples=25, derandomize=True, database=None, deadline=None)
@given(data=changed_files())
def test_whatever_else_is_in_a_file_a_perfect_detector_scores_one(data, pictures, path):
    path.write_text(json.dumps(data))
    samples = dataset(path, pictures)
    str(samples.faults).encode()
    found = perfect(samples)
    assert ([4, 4, 24, 24], samples.metainfo['classes'].index('mug')) in [
        box for boxes in found.values() for box in boxes
    ]
    values = figures(path, samples.metainfo['classes'], found)
    assert values['detection/mAP@0.5'] == pytest.approx(1)
