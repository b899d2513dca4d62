"""``EclipInferencer``: what ``Eclip`` gives, in the form of mmengine's inferencers."""

import numpy as np
import pytest
from mmengine.infer import BaseInferencer
from mmengine.structures import BaseDataElement

from eclip_mm.apis import Eclip
from eclip_mm.registry import INFERENCERS
from helpers.catalogues import encode

NAMES = ['red mug', 'blue mug', 'green bowl']


def build(checkpoint, task='locate'):
    return INFERENCERS.build(
        dict(
            type='EclipInferencer',
            weights=str(checkpoint),
            task=task,
            device='cpu',
            show_progress=False,
        )
    )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('photos')
    for k in range(2):
        pixels = np.random.default_rng(k).integers(256, size=(40, 24 + 8 * k, 3), dtype=np.uint8)
        (path / f'{k}.png').write_bytes(encode(pixels))
    (path / 'notes.txt').write_text('no picture')
    return path


def test_predictions_are_those_of_eclip(checkpoint, folder):
    infer, eclip = build(checkpoint), Eclip(checkpoint, device='cpu')
    assert isinstance(infer, BaseInferencer)
    pictures = [str(folder / f'{k}.png') for k in range(2)]
    wanted = eclip.locate(pictures, NAMES, top_k=2)
    assert infer(str(folder), names=NAMES, top_k=2) == dict(predictions=wanted, visualization=[])
    assert infer(pictures[1], names=NAMES, top_k=2)['predictions'] == [wanted[1]]
    (element,) = infer(pictures[0], return_datasamples=True, names=NAMES)['predictions']
    assert isinstance(element, BaseDataElement) and element.width == 24
    found = build(checkpoint, 'encode')(['red mug', pictures[0]])['predictions']
    assert [result['kind'] for result in found] == ['text', 'image']


def test_pictures_are_drawn_at_their_size(checkpoint, folder):
    found = build(checkpoint)(
        [str(folder / '1.png'), b'x'], names=NAMES, maps=True, return_vis=True
    )
    drawn, broken = found['visualization']
    assert drawn.shape == (40, 32, 3) and drawn.dtype == np.uint8
    assert 'error' in found['predictions'][1] and broken.shape == (1, 1, 3)


def test_what_is_unknown_is_refused(checkpoint, folder):
    with pytest.raises(ValueError, match='nmaes'):
        build(checkpoint)(str(folder), nmaes=NAMES)
    with pytest.raises(ValueError, match="got 'fly'"):
        build(checkpoint, 'fly')
    with pytest.raises(ValueError, match='classify finds no boxes'):
        build(checkpoint, 'classify')(str(folder), names=NAMES, return_vis=True)
