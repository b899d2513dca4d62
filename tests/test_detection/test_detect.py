"""``Eclip.detect`` beside mmdet's own inference, from a detector's checkpoint alone."""

import json

import numpy as np
import pytest
import torch

from eclip_mm.apis import Eclip, EclipInferencer
from eclip_mm.cli import main
from helpers.catalogues import encode
from helpers.detection import NAMES, load

pytestmark = pytest.mark.ops
PICTURE = np.random.default_rng(0).integers(256, size=(50, 80, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def detector(detection, checkpoints, tmp_path_factory):
    """The checkpoint of a random RetinaNet as a training writes it, its config and its model."""
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    cfg = load('retinanet_eclip_tiny_synthetic.py', checkpoints)
    cfg.model.bbox_head.num_classes = len(NAMES)
    cfg.model.test_cfg.update(score_thr=0.0, max_per_img=7)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp('detector') / 'epoch_1.pth'
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=NAMES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path, cfg, model


@pytest.fixture(scope='module')
def eclip(detector):
    return Eclip(detector[0], device='cpu')


def test_objects_are_those_of_mmdet(detector, eclip):
    from mmdet.apis import inference_detector
    from mmdet.utils import get_test_pipeline_cfg
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope

    path, cfg, model = detector
    model.cfg = cfg
    pipeline = get_test_pipeline_cfg(cfg.copy())
    pipeline[0].type = 'mmdet.LoadImageFromNDArray'
    with DefaultScope.overwrite_default_scope('mmdet'):
        wanted = inference_detector(model, PICTURE[..., ::-1].copy(), Compose(pipeline))
    wanted = wanted.pred_instances
    found = eclip.detect(PICTURE, score_thr=0)
    assert (found['width'], found['height']) == (80, 50) and len(found['objects']) == 7
    assert [o['name'] for o in found['objects']] == [NAMES[k] for k in wanted.labels]
    for key, values in (('score', wanted.scores), ('box', wanted.bboxes)):
        np.testing.assert_allclose([o[key] for o in found['objects']], values, atol=6e-3)
    json.dumps(found)


def test_what_is_asked_for_and_no_more(eclip):
    every = eclip.detect(PICTURE, score_thr=0)['objects']
    assert eclip.detect(PICTURE, score_thr=0, top_k=2)['objects'] == every[:2]
    middle = every[3]['score']
    kept = [o for o in every if o['score'] >= middle]
    assert eclip.detect(PICTURE, score_thr=middle)['objects'] == kept
    one = [o for o in every if o['name'] == every[0]['name']]
    assert eclip.detect(PICTURE, score_thr=0, names=[every[0]['name']])['objects'] == one
    small = PICTURE[:20, :30]
    found = eclip.detect([small, b'broken', PICTURE], score_thr=0)
    assert found[2]['objects'] == every and 'error' in found[1], 'nor on the batch'


def test_what_a_detector_lacks_is_refused(eclip, detector, tmp_path):
    with pytest.raises(ValueError, match='is a detector, which cannot encode; it has detect'):
        eclip.encode('red mug')
    with pytest.raises(ValueError, match="no class 'sofa'; it has red enamel mug"):
        eclip.detect(PICTURE, names=['sofa'])
    with pytest.raises(ValueError, match='has the backend torch alone'):
        Eclip(detector[0], backend='onnx')
    with pytest.raises(ValueError, match='leave negatives out'):
        Eclip(detector[0], negatives=['a', 'b'])
    content = torch.load(detector[0])
    del content['meta']['dataset_meta']
    torch.save(content, tmp_path / 'nameless.pth')
    with pytest.raises(ValueError, match='nameless.pth is a detector without class names'):
        Eclip(tmp_path / 'nameless.pth')


def test_import_paths_in_a_checkpoint_are_refused(detector, tmp_path):
    content = torch.load(detector[0])
    for old, new in (("'RetinaNet'", "'os.system'"), ("'RetinaNet'", "'mmdet.apis.x'")):
        meta = dict(content['meta'], cfg=content['meta']['cfg'].replace(old, new))
        torch.save(dict(content, meta=meta), tmp_path / 'bad.pth')
        with pytest.raises(ValueError, match='would import and call'):
            Eclip(tmp_path / 'bad.pth')


def test_the_command_gives_a_line_for_each_picture(detector, eclip, tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ('a.png', 'broken.png')]
    (tmp_path / 'a.png').write_bytes(encode(PICTURE))
    (tmp_path / 'broken.png').write_bytes(b'nothing')
    options = ['--score-thr', '0', '--top-k', '2', '--device', 'cpu']
    assert main(['detect', str(detector[0]), *paths, *options]) == 3
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == dict(id=paths[0], **eclip.detect(PICTURE, score_thr=0, top_k=2))
    assert second['id'] == paths[1] and 'error' in second


def test_boxes_are_drawn_and_written(detector, tmp_path):
    infer = EclipInferencer(detector[0], task='detect', device='cpu', show_progress=False)
    found = infer(PICTURE, score_thr=0, return_vis=True, out_dir=tmp_path)
    assert found['visualization'][0].shape == PICTURE.shape
    assert (found['visualization'][0] != PICTURE).any()
    assert json.loads((tmp_path / 'preds/0.json').read_text()) == found['predictions'][0]
    assert (tmp_path / 'vis/0.png').is_file()
