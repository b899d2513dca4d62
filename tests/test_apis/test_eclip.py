"""``Eclip``: what it takes, what it gives, and what a result does not depend on."""

import io
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

import eclip_mm
from eclip_mm.apis import Eclip, InputError, load_model, predict_items
from eclip_mm.apis.input_pictures import PictureReader, ReadPicture
from eclip_mm.apis.locating import NegativeNames, best_boxes
from eclip_mm.checkpoint import read_checkpoint, read_saved_config
from eclip_mm.datasets import ProductImageDataset
from eclip_mm.evaluation.functional import pairwise_iou
from eclip_mm.evaluation.proposals import RegionProposer
from eclip_mm.models.decoders import CatalogueNegatives, scale_prompts
from helpers.catalogues import encode
from helpers.results import assert_same
from test_apis.conftest import TEXTS, write_checkpoint

NAMES = ['red mug', 'blue mug', 'green bowl']
CLOSE = dict(rtol=0, atol=1e-6)


@pytest.fixture(scope='module')
def eclip(checkpoint):
    return Eclip(checkpoint, device='cpu')


@pytest.fixture(scope='module')
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(256, size=(40, 24 + 8 * k, 3), dtype=np.uint8) for k in range(5)]


def test_it_is_imported_from_the_package():
    assert eclip_mm.Eclip is Eclip
    with pytest.raises(AttributeError, match="no attribute 'Eclips'"):
        _ = eclip_mm.Eclips


def test_vectors_are_those_of_an_evaluation(eclip, checkpoint):
    saved = read_saved_config(str(checkpoint))
    pipeline = saved['test_dataloader']['dataset']['pipeline']
    dataset = ProductImageDataset(str(checkpoint.parent / 'shop.parquet'), pipeline)
    model = load_model(Config(dict(model=saved['model'])), str(checkpoint))
    for index, (_, sample) in enumerate(predict_items(model, dataset, range(3))):
        row = dataset.catalogue[index // 2]
        picture = row['images'][index % 2]['bytes']
        found = eclip.embed(picture, row['text'])
        for name in ('image', 'text', 'instance'):
            wanted = getattr(sample, f'pred_{name}_feat').numpy()
            np.testing.assert_allclose(found[name], wanted, **CLOSE)
        assert eclip.encode(dict(image=picture, text=row['text'])) == dict(
            kind='instance', vector=pytest.approx(found['instance'], abs=1e-6)
        )
        located = eclip.locate(picture, row['text'], maps=True, negatives='model')
        wanted = sample.pred_score_map.numpy()
        np.testing.assert_allclose(located['products'][0]['map'], wanted, **CLOSE)


def test_every_kind_of_picture_is_the_same_picture(eclip, pictures, tmp_path):
    array = pictures[1]
    path = tmp_path / 'Photo of a MUG.PNG'
    path.write_bytes(encode(array))
    opaque = np.concatenate([array, np.full((*array.shape[:2], 1), 255, np.uint8)], axis=2)
    kinds = [str(path), path, path.read_bytes(), Image.fromarray(array), array, opaque]
    found = eclip.encode([*kinds, dict(image=path)])
    assert [result['kind'] for result in found] == 7 * ['image']
    assert all(result['vector'] == pytest.approx(found[0]['vector']) for result in found)
    grey = array[..., 0]
    found = eclip.encode([grey, grey[..., None], np.stack(3 * [grey], 2), Image.fromarray(grey)])
    assert all(result['vector'] == pytest.approx(found[0]['vector']) for result in found)
    cmyk = Image.fromarray(array).convert('CMYK')
    assert eclip.encode(cmyk)['kind'] == 'image'


def test_one_input_gives_one_result_and_several_a_list(eclip, pictures):
    assert eclip.encode('red mug')['kind'] == 'text'
    assert [r['kind'] for r in eclip.encode(['red mug'])] == ['text']
    assert len(eclip.encode(np.stack(2 * [pictures[0]]))) == 2
    assert eclip.encode([]) == []
    assert eclip.embed(pictures[0]).keys() == {'image'}
    assert eclip.embed(pictures[:1], NAMES[:1])[0].keys() == {'image', 'text', 'instance'}
    with pytest.raises(ValueError, match='2 pictures and 1 texts'):
        eclip.embed(pictures[:2], NAMES[:1])


BAD = {
    'gone.jpg': 'gone.jpg cannot be decoded: there is no such file',
    'https://shop.example/a.jpg': 'is an address',
    b'nothing': 'cannot be decoded: it is not a picture',
    encode(np.zeros((40, 40, 3), np.uint8))[:60]: 'cannot be decoded',
    '  ': 'a text is a string that is not empty',
}
ODD = [
    (np.zeros((4, 4, 3)), 'float64'),
    (np.zeros((0, 4, 3), np.uint8), 'no pixels'),
    (np.zeros((4, 4, 2), np.uint8), 'RGBA'),
    (None, 'neither|no picture'),
    (3.5, 'float is no picture'),
    ({}, "'image', 'text' or both"),
    (dict(image='a.jpg', title='x'), "'title'"),
    (dict(text=5, image=None), 'a text is a string'),
    (Path(__file__).parent, 'cannot be decoded'),
]


@pytest.mark.parametrize(('value', 'reason'), [*BAD.items(), *ODD])
def test_a_bad_input_is_a_result_and_harms_no_other(eclip, pictures, value, reason):
    good = eclip.encode([pictures[0], 'red mug'])
    found = eclip.encode([pictures[0], value, 'red mug'])
    assert found[1].keys() == {'error'} and re.search(reason, found[1]['error'])
    assert '\n' not in found[1]['error']
    assert_same([found[0], found[2]], good)
    with pytest.raises(InputError):
        eclip.encode([pictures[0], value], strict=True)


def test_other_tasks_report_bad_pictures_as_well(eclip, pictures):
    for found in (
        eclip.embed([pictures[0], 'gone.jpg'], NAMES[:2]),
        eclip.locate([pictures[0], 'red mug'], NAMES),
        eclip.classify([pictures[0], dict(image=pictures[1], text='red mug')], NAMES),
    ):
        assert 'error' not in found[0] and found[1].keys() == {'error'}


@pytest.mark.parametrize(
    ('task', 'options'),
    [
        ('encode', {}),
        ('embed', {}),
        ('locate', dict(names=NAMES, top_k=3, maps=True)),
        ('locate', dict(names=[*TEXTS, 'red fork'], negatives=NAMES)),
        ('classify', dict(names=NAMES)),
    ],
)
def test_no_result_depends_on_batch_or_order(eclip, pictures, task, options):
    inputs = [dict(image=picture) for picture in pictures]
    if task in ('encode', 'embed'):
        inputs = [dict(item, text=text) for item, text in zip(inputs, TEXTS, strict=False)]
        inputs += [dict(image=pictures[0])]
    if task == 'encode':
        inputs += [dict(text=text) for text in TEXTS]
    alone = [list(eclip.stream([item], task, **options))[0] for item in inputs]
    json.dumps(alone, allow_nan=False)
    for seed, batch_size in ((0, 2), (1, 3), (2, 32)):
        order = random.Random(seed).sample(range(len(inputs)), len(inputs))
        mixed = [value for k in order for value in (inputs[k], dict(image=b'broken'))]
        found = list(eclip.stream(mixed, task, batch_size=batch_size, **options))
        assert_same(found[::2], [alone[k] for k in order])


def test_a_stream_holds_one_batch_and_keeps_the_order(eclip):
    taken = []

    def inputs():
        for k in range(9):
            taken.append(k)
            yield TEXTS[k % 7]

    found = eclip.stream(inputs(), batch_size=4)
    assert taken == []
    results = []
    for number, result in enumerate(found):
        assert len(taken) == min(9, 4 * (number // 4 + 1))
        results.append(result)
    assert_same(results, eclip.encode([TEXTS[k % 7] for k in range(9)]))


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(task='find'), 'task is one of encode'),
        (dict(batch_size=0), 'batch_size is at least 1'),
        (dict(task='locate', names=[]), 'at least one name'),
        (dict(task='locate', names=['mug', ' ']), 'a name is a string that is not empty'),
        (dict(task='locate', names=['mug'], boxes_of='rpn'), "'map' or 'regions'"),
        (dict(task='locate', names=['mug'], negatives='all'), "None, 'model' or several"),
        (dict(task='locate', names=['mug'], negatives=['mug', 'MUG']), 'two different names'),
    ],
)
def test_wrong_options_are_errors_before_the_first_picture(eclip, options, reason):
    with pytest.raises(ValueError, match=reason):
        eclip.stream([], **options)


def test_unknown_options_are_errors(eclip):
    with pytest.raises(TypeError, match='topk'):
        eclip.stream([], 'locate', names=NAMES, topk=3)


def test_many_names_cost_one_pass_of_the_image_tower(eclip, pictures, monkeypatch):
    calls = dict(encode_image=0, encode_text=0)
    for name in calls:
        function = getattr(eclip.model.network, name)

        def count(*args, name=name, function=function):
            calls[name] += 1
            return function(*args)

        monkeypatch.setattr(eclip.model.network, name, count)
    names = [f'{a} {b}' for a in TEXTS for b in TEXTS[:5]] + 5 * ['red mug']
    found = eclip.locate(pictures[0], names)
    assert [product['name'] for product in found['products']] == names
    assert calls == dict(encode_image=1, encode_text=1)
    assert_same(found['products'][-1], found['products'][-2])


def test_the_other_names_are_the_negatives(eclip, pictures):
    """With as many names as queries, those of ``CatalogueNegatives`` with these names."""
    model, names = eclip.model, [*TEXTS, 'red fork']
    text_feats = torch.tensor([r['vector'] for r in eclip.encode(names)])
    read = eclip._read(pictures[0])
    batch = dict(inputs=dict(images=read.pixels[None, None]), data_samples=None)
    images = model.data_preprocessor(batch)['inputs']['images'][:, 0]
    source = CatalogueNegatives(16)
    source.set_names(text_feats)
    own, model.negative_queries = model.negative_queries, source
    try:
        with torch.no_grad():
            _, tokens, grid = model.network.encode_image(images)
            feats, maps = model.locate(tokens.expand(8, -1, -1), grid, text_feats)
    finally:
        model.negative_queries = own
    products = eclip.locate(pictures[0], names, maps=True)['products']
    for product, feat, text_feat, score_map in zip(products, feats, text_feats, maps, strict=True):
        np.testing.assert_allclose(product['map'], score_map, **CLOSE)
        assert product['similarity'] == pytest.approx(float(feat @ text_feat), abs=1e-5)


def test_names_depend_on_no_order_and_with_the_models_negatives_on_no_other(eclip, pictures):
    def find(names, **options):
        found = eclip.locate(pictures[0], names, maps=True, **options)['products']
        return {product['name']: product for product in found}

    for options in ({}, dict(negatives='model'), dict(negatives=TEXTS)):
        assert_same(find(NAMES[::-1], **options), find(NAMES, **options))
    for options in (dict(negatives='model'), dict(negatives=TEXTS)):
        assert_same(find(NAMES[:1], **options), {NAMES[0]: find(NAMES, **options)[NAMES[0]]})
    assert find(NAMES[:1]) != {NAMES[0]: find(NAMES)[NAMES[0]]}
    assert_same(find([NAMES[0], 'RED  mug'])[NAMES[0]], find(NAMES[:1])[NAMES[0]])


@pytest.mark.parametrize('num_names', [1, 2, 3, 4, 7])
def test_missing_negatives_are_the_models_own_without_the_names(eclip, num_names):
    model = eclip.model
    names = torch.eye(16)[:num_names]
    ring = model.negative_queries.ring_feats
    before = ring.clone()
    drawn = model.negative_queries.draw(5)[2]
    # a training that has last seen the first name
    ring[(scale_prompts(ring) - drawn).abs().sum(dim=1).argmin()] = names[0]
    try:
        tokens = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(3))
        found = NegativeNames(model, names)(tokens, names)
    finally:
        ring.copy_(before)
    assert found.shape == (num_names, 4, 16)
    cosine = torch.einsum('btd,bd->bt', found, scale_prompts(names)) / 16
    assert cosine.max() < 0.9999, 'a name is no negative of its own'
    of_names = torch.einsum('btd,kd->btk', found, scale_prompts(names)) / 16
    assert ((of_names > 0.9999).sum(dim=(1, 2)) == min(num_names, 5) - 1).all()


@pytest.mark.parametrize(('width', 'height'), [(80, 80), (200, 100), (33, 120)])
def test_boxes_are_in_pixels_of_the_picture(width, height):
    score_map = np.zeros((4, 4))
    score_map[1:3, 2:] = 0.8
    picture = PictureReader([dict(type='LoadProductImages'), dict(type='Resize', size=(32, 64))])
    read = picture(np.zeros((height, width, 3), np.uint8))
    assert read.size == (width, height) and read.pixels.shape == (3, 32, 64)
    first, *others = best_boxes(score_map, read, top_k=5)
    wanted = [width / 2, height / 4, width, 3 * height / 4]
    assert pairwise_iou([first['box']], [wanted])[0, 0] > 0.8
    assert first['box'][2] == width, 'to the border'
    # the mean of the map in a quarter of the picture, times sqrt(1 / 4)
    assert first['score'] == pytest.approx(0.4, rel=0.2)
    assert all(o['score'] <= first['score'] for o in others)
    assert best_boxes(np.zeros((4, 4)), read, top_k=1) == []


def test_boxes_of_regions_are_the_proposals_of_the_picture(eclip):
    array = np.zeros((120, 200, 3), np.uint8)
    array[30:90, 50:150] = (250, 60, 10)
    read = eclip._read(array)
    proposals = read.to_original(RegionProposer()({}, read.pixels))
    for product in eclip.locate(array, NAMES, boxes_of='regions', top_k=50)['products']:
        boxes = np.array([found['box'] for found in product['boxes']])
        assert len(boxes) > 3
        assert (np.abs(boxes[:, None] - proposals).max(axis=2).min(axis=1) < 0.01).all()
    candidates = np.array([[0, 0, 8, 8], [8, 8, 24, 24.0]])
    picture = ReadPicture(torch.zeros(3, 32, 32), (320, 160), (0, 0, 32, 32))
    score_map = np.zeros((4, 4))
    score_map[1:3, 1:3] = 1
    best = best_boxes(score_map, picture, 1, candidates)
    assert best[0]['box'] == [80, 40, 240, 120]


def test_two_places_give_two_boxes():
    score_map = np.zeros((8, 8))
    score_map[1:3, 1:3], score_map[5:7, 5:7] = 1.0, 0.6
    picture = ReadPicture(torch.zeros(3, 64, 64), (640, 320), (0, 0, 64, 64))
    boxes = [found['box'] for found in best_boxes(score_map, picture, top_k=9)]
    assert pairwise_iou(boxes[:1], [[80, 40, 240, 120]])[0, 0] > 0.7
    assert any(pairwise_iou([box], [[400, 200, 560, 280]])[0, 0] > 0.7 for box in boxes[1:])


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_turned_photo_is_measured_as_it_is_seen(eclip, orientation):
    file = io.BytesIO()
    image = Image.new('RGB', (120, 40), (9, 9, 9))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(file, 'JPEG', exif=exif)
    found = eclip.locate(file.getvalue(), 'red mug')
    size = (120, 40) if orientation < 5 else (40, 120)
    assert (found['width'], found['height']) == size
    assert_same(eclip.locate(Image.open(file), 'red mug'), found)


def test_a_picture_that_was_padded_is_mapped_back():
    read = ReadPicture(torch.zeros(3, 64, 64), (200, 100), (0, 16, 64, 48))
    boxes = read.to_original(np.array([[0, 16, 32, 32], [0, 0, 64, 64]]))
    assert boxes.tolist() == [[0, 0, 100, 50], [0, 0, 200, 100]]


def test_classes_are_ranked(eclip, pictures):
    found = eclip.classify(pictures[0], NAMES, template='a photo of {}')['classes']
    feats = np.array([r['vector'] for r in eclip.encode([f'a photo of {n}' for n in NAMES])])
    cosine = feats @ eclip.encode(pictures[0])['vector']
    assert [c['name'] for c in found] == [NAMES[k] for k in np.argsort(-cosine)]
    logits = np.exp(cosine / 0.07)
    assert [c['score'] for c in found] == pytest.approx(-np.sort(-logits / logits.sum()))
    assert len(eclip.classify(pictures[0], NAMES, top_k=2)['classes']) == 2


def test_a_model_whose_negatives_are_a_catalogue_asks_for_it(tmp_path, pictures):
    path = write_checkpoint(tmp_path, negative_queries=dict(type='CatalogueNegatives'))
    eclip = Eclip(path, device='cpu')
    for call in (
        lambda: eclip.locate(pictures[0], 'red mug'),
        lambda: eclip.embed(pictures[0], 'red mug'),
        lambda: eclip.locate(pictures[0], NAMES, negatives='model'),
    ):
        with pytest.raises(ValueError, match=r'Eclip\(..., negatives='):
            call()
    assert len(eclip.locate(pictures[0], NAMES)['products']) == 3
    assert eclip.encode(pictures[0])['kind'] == 'image'
    eclip = Eclip(path, device='cpu', negatives=TEXTS)
    assert eclip.embed(pictures[0], 'red mug').keys() == {'image', 'text', 'instance'}
    eclip.locate(pictures[0], 'red mug')


def test_given_names_are_the_negatives_of_instance_vectors(eclip, checkpoint, pictures):
    other = Eclip(checkpoint, device='cpu', negatives=TEXTS)
    ours, theirs = (e.embed(pictures[0], 'red mug') for e in (eclip, other))
    assert_same(ours['image'], theirs['image'])
    assert ours['instance'] != pytest.approx(theirs['instance'], abs=1e-4)


def test_a_model_without_decoder(tmp_path, pictures):
    off = dict(itc=dict(type='ITCHead'), inter=None, itm=None, intra=None)
    eclip = Eclip(write_checkpoint(tmp_path, pretext_heads=off), device='cpu', negatives=TEXTS)
    found = eclip.embed(pictures[0], 'red mug')
    assert found['instance'] == found['image']
    product = eclip.locate(pictures[0], NAMES, maps=True)['products'][0]
    assert np.shape(product['map']) == (4, 4) and product['boxes']


def _saved(checkpoint, path, change):
    content = read_checkpoint(checkpoint)
    change(content)
    torch.save(content, path)
    return path


def _other(content):
    content['meta']['cfg'] = "model = dict(type='ResNet')"


def _stranger(content):
    cfg = content['meta']['cfg'].replace("type='ECLIP'", "type='Stranger'")
    content['meta']['cfg'] = cfg + "\ncustom_imports = dict(imports=['projects.stranger'])\n"


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda c: c['meta'].pop('cfg'), 'no config of its training'),
        (_other, 'is a ResNet, not a pretrained ECLIP.*detect'),
        (_stranger, r"'Stranger'.*import \['projects.stranger'\]"),
        (
            lambda c: c['state_dict'].pop('network.image_proj.weight'),
            'do not fit its config, at network.image_proj.weight',
        ),
        (lambda c: c['state_dict'].update(more=torch.zeros(1)), 'at more'),
        (
            lambda c: c['state_dict'].update({'logit_scale': torch.zeros(3)}),
            'do not fit its config.*logit_scale',
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(checkpoint, tmp_path, change, reason):
    path = _saved(checkpoint, tmp_path / 'odd.pth', change)
    with pytest.raises(ValueError, match=f'(?s)odd.pth.*{reason}'):
        Eclip(path)


def test_no_file_and_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="backend is torch or onnx, got 'tvm'"):
        Eclip(tmp_path, backend='tvm')
    with pytest.raises(FileNotFoundError, match='neither a checkpoint nor a folder'):
        Eclip(tmp_path / 'gone.pth')
    (tmp_path / 'text.pth').write_text('no checkpoint')
    with pytest.raises(ValueError, match='text.pth'):
        Eclip(tmp_path / 'text.pth')
    with pytest.raises(ValueError, match='not a folder of tools/export.py'):
        Eclip(tmp_path)


def test_an_explanation_is_the_similarity_of_each_patch(eclip, pictures):
    vector = eclip.encode('red mug')['vector']
    results = eclip.explain([*pictures[:2], b'broken'], vector)
    for picture, found in zip(pictures, results[:2], strict=False):
        assert (found['width'], found['height']) == picture.shape[1::-1]
        pixels = eclip._read(picture).pixels[None, None]
        batch = dict(inputs=dict(images=pixels), data_samples=None)
        with torch.no_grad():
            images = eclip.model.data_preprocessor(batch)['inputs']['images'][:, 0]
            _, tokens, grid = eclip.model.network.encode_image(images)
        cosine = torch.cosine_similarity(tokens[0], torch.tensor(vector), dim=1).view(grid)
        torch.testing.assert_close(
            torch.tensor(found['map']), (cosine - cosine.min()) / 2, **CLOSE
        )
    assert 'cannot be decoded' in results[2]['error']
    for wrong in (vector[:-1], [vector], [float('nan')] * len(vector)):
        with pytest.raises(ValueError, match='give one of 16 finite numbers'):
            eclip.explain(pictures[0], wrong)


def test_pictures_keep_their_aspect_and_pass_in_groups_of_one_size(checkpoint):
    """32 x 32 pixels of area and patches of 8: 48 x 32 becomes 40 x 24, 32 x 128 16 x 64."""
    rng = np.random.default_rng(0)
    shapes = (32, 48, 3), (128, 32, 3), (32, 48, 3)
    pictures = [rng.integers(256, size=shape, dtype=np.uint8) for shape in shapes]
    eclip, names = Eclip(checkpoint, device='cpu', keep_aspect=True), ['red mug', 'blue mug']
    found = eclip.locate(pictures, names, maps=True)
    grids = [np.shape(one['products'][0]['map']) for one in found]
    assert grids == [(3, 5), (8, 2), (3, 5)]
    assert [(one['width'], one['height']) for one in found] == [(48, 32), (32, 128), (48, 32)]
    for one, picture in zip(found, pictures, strict=True):
        (alone,) = eclip.locate([picture], names, maps=True)
        assert_same(one, alone)
    mixed = eclip.encode(['red mug', pictures[1], pictures[0], 'blue mug'])
    assert [one['kind'] for one in mixed] == ['text', 'image', 'image', 'text']
    assert_same(mixed[2], eclip.encode(pictures[0]))
