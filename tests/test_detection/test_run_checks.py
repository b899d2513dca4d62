"""Before the first step: anchors fit the maps, heads and data sets the same classes."""

import json
from types import SimpleNamespace

import pytest
from mmengine.registry import DefaultScope
from torch import nn

from eclip_mm.engine.checks.detector import check_classes, check_strides
from helpers.detection import FILES, coco, load

NAMES = ('chips', 'wafer', 'tea')


def build(cfg):
    from mmdet.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


@pytest.mark.ops
@pytest.mark.parametrize('name', [n for n in FILES if 'tiny' in n])
def test_the_strides_of_the_configs_fit(name, checkpoints):
    model = build(load(name, checkpoints)).train()
    check_strides(model)
    assert model.training
    num_classes = 64 if 'synthetic' in name else 19
    check_classes(model, dict(train=data(*map(str, range(num_classes)))))
    if not name.startswith('rpn'):
        with pytest.raises(ValueError, match=f'num_classes={num_classes}, but .* has 7 classes'):
            check_classes(model, dict(train=data(*'abcdefg')))


@pytest.mark.ops
@pytest.mark.parametrize(
    'name, key, strides, right',
    [
        # anchors of 8-pixel patches on a backbone with 12-pixel patches, and so on
        ('retinanet_eclip_tiny_snacks.py', 'bbox_head', [4, 8, 16], [6, 12, 24]),
        ('retinanet_eclip_tiny_synthetic.py', 'bbox_head', [12, 24], [8, 16]),
        ('retinanet_eclip_tiny_synthetic.py', 'bbox_head', [8, 16, 32], [8, 16]),
        ('rpn_eclip_tiny_snacks.py', 'rpn_head', [2, 4, 8, 16, 32], [3, 6, 12, 24, 48]),
        ('faster-rcnn_eclip_tiny_snacks.py', 'rpn_head', [4, 8, 16, 32], [6, 12, 24, 48]),
        ('faster-rcnn_eclip_tiny_snacks.py', 'roi_head', [4, 8, 16], [6, 12, 24]),
        ('retinanet_tiny_snacks.py', 'bbox_head', [4, 8, 16], [8, 16, 32]),  # mmdet's own
    ],
)
def test_other_strides_are_an_error_with_both_sides(name, key, strides, right, checkpoints):
    cfg = load(name, checkpoints)
    if key == 'roi_head':
        cfg.model.roi_head.bbox_roi_extractor.featmap_strides = strides
    else:
        cfg.model[key].anchor_generator.strides = strides
    with pytest.raises(ValueError) as error:
        check_strides(build(cfg))
    message = str(error.value)
    assert f'model.{key}.' in message and 'strides=' + str(strides) in message, message
    assert message.endswith(f'Set them to {right}'), message


def test_what_is_no_detector_passes():
    check_strides(nn.Linear(1, 1))
    check_classes(nn.Linear(1, 1), dict(train=[1, 2], val=SimpleNamespace(metainfo=None)))


class Detector(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.bbox_head = nn.Linear(1, 1)
        self.bbox_head.num_classes = num_classes


def data(*names, path='', labels=None):
    dataset = SimpleNamespace(metainfo=dict(classes=names), ann_file=str(path))
    if labels is not None:
        dataset.cat2label = labels
    return dataset


@pytest.mark.parametrize(
    'val, message',
    [
        (('wafer', 'chips', 'tea'), "class 0 is 'wafer' there and 'chips' here"),
        (('chips', 'wafer'), r"2 and 3 classes, \[\] only there, \['tea'\] only here"),
        (('chips', 'wafer', 'milk'), r"\['milk'\] only there, \['tea'\] only here"),
    ],
)
def test_classes_in_another_order_or_others(val, message):
    check_classes(Detector(3), dict(train=data(*NAMES), val=data(*NAMES)))
    wrapped = SimpleNamespace(datasets=[data(*NAMES), data(*val)])
    for datasets in (dict(train=data(*NAMES), val=data(*val)), dict(train=wrapped)):
        with pytest.raises(ValueError, match=message) as error:
            check_classes(Detector(3), datasets)
        assert 'train_dataloader' in str(error.value)


def test_the_order_of_labels_is_that_of_the_file(tmp_path):
    """mmdet numbers the categories in the order of the file, however the config names them."""
    names = ('chips', 'wafer')
    for name, order in (('train', 1), ('val', -1)):
        content = coco()
        content['categories'] = content['categories'][::order]
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    train = data(*names, path=tmp_path / 'train.json', labels={7: 0, 3: 1})
    check_classes(Detector(2), dict(train=train, val=train))
    val = data(*names, path=tmp_path / 'val.json', labels={3: 0, 7: 1})
    with pytest.raises(ValueError, match=r"val_dataloader \(.*val\.json\).*class 0 is 'wafer'"):
        check_classes(Detector(2), dict(train=train, val=val))


@pytest.mark.parametrize('count', [2, 80])
def test_another_number_of_classes_names_both(count):
    with pytest.raises(ValueError) as error:
        check_classes(Detector(count), dict(train=data(*NAMES, path='a/train.json')))
    assert f'model.bbox_head.num_classes={count}, but train_dataloader' in str(error.value)
    assert '(a/train.json) has 3 classes: set model.bbox_head.num_classes=3' in str(error.value)


@pytest.mark.ops
def test_a_real_data_set_of_coco_products(tmp_path):
    from eclip_mm.datasets.detection import CocoProducts

    content, datasets = coco(), {}
    for name, order in (('train', 1), ('val', -1)):
        content['categories'] = content['categories'][::order]
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
        datasets[name] = CocoProducts(
            ann_file=str(tmp_path / f'{name}.json'), data_prefix=dict(img=''), check_files=False
        )
    check_classes(Detector(2), dict(train=datasets['train']))
    with pytest.raises(ValueError, match="class 0 is 'wafer' there and 'chips' here"):
        check_classes(Detector(2), datasets)

    # named in the config, the classes are the labels, whatever the ids and the order of a file
    content['categories'][0]['id'] = 'tea-3'
    content['categories'].append(dict(id=99))
    (tmp_path / 'train.json').write_text(json.dumps(content))
    named = {
        name: CocoProducts(
            ann_file=str(tmp_path / f'{name}.json'),
            data_prefix=dict(img=''),
            metainfo=dict(classes=('wafer', 'chips')),
            check_files=False,
            test_mode=True,
        )
        for name in datasets
    }
    check_classes(Detector(2), named)
