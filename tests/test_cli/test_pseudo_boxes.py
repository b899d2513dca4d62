"""``eclip-mm locate --coco``: boxes of named products as a COCO file."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from eclip_mm.apis import Eclip
from eclip_mm.apis.box_finder import BoxFinder, BoxSettings
from eclip_mm.apis.box_shape import BoxShape
from eclip_mm.apis.picture_names import NamedPicture, Sought
from eclip_mm.cli import main
from helpers.catalogues import encode, write_rows
from test_apis.conftest import TEXTS, write_checkpoint

LOCATE = ['locate', 'epoch_6.pth']


def noise(seed: int, width: int = 48, height: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


def turned(seed: int) -> bytes:
    """A photo that is seen upright when it is turned by a quarter."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(noise(seed)).save(file, 'JPEG', exif=exif)
    return file.getvalue()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint, a catalogue whose last two products share a picture, and labelled photos."""
    path = tmp_path_factory.mktemp('pseudo')
    write_checkpoint(path)
    rows = [
        dict(
            product_id=f'p{k}',
            text=TEXTS[k],
            category=('mugs', 'bowls')[k // 2],
            images=[dict(bytes=turned(k) if k == 1 else encode(noise(min(k, 2))), source='shop')],
        )
        for k in range(4)
    ]
    write_rows(rows, path / 'shop.parquet')
    (path / 'photos').mkdir()
    for k in range(3):
        (path / f'photos/{k}.png').write_bytes(encode(noise(10 + k)))
    return path


@pytest.fixture
def run(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)

    def call(*arguments, expected=0):
        try:
            code = main([*LOCATE, *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        assert code == expected, shown.err
        return shown

    return call


def test_boxes_of_a_catalogue_are_those_of_eclip_in_the_written_pictures(run, folder, tmp_path):
    out = tmp_path / 'boxes.json'
    shown = run('shop.parquet', '--coco', out, '--threshold', '0')
    assert '4 boxes of 4 categories in 3 of 3 pictures' in shown.out
    coco = COCO(str(out))
    eclip = Eclip('epoch_6.pth', device='cpu', negatives=TEXTS[:4], keep_aspect=True)
    for image in coco.loadImgs(coco.getImgIds()):
        path = tmp_path / 'boxes_pictures' / image['file_name']
        assert Image.open(path).size == (image['width'], image['height'])
        for box in coco.loadAnns(coco.getAnnIds(image['id'])):
            name = coco.cats[box['category_id']]['name']
            (wanted,) = eclip.locate(path, name, negatives='model')['products'][0]['boxes']
            x, y, w, h = box['bbox']
            assert [x, y, x + w, y + h] == pytest.approx(wanted['box'], abs=0.02)
            assert box['score'] == pytest.approx(wanted['score'], abs=1e-5)
    sizes = [(image['width'], image['height']) for image in coco.imgs.values()]
    assert sizes == [(48, 32), (32, 48), (48, 32)]  # the second is turned
    names = [[coco.cats[a['category_id']]['name'] for a in coco.imgToAnns[i]] for i in (1, 2, 3)]
    assert list(map(sorted, names)) == [[TEXTS[0]], [TEXTS[1]], sorted(TEXTS[2:4])]
    assert not list(tmp_path.glob('*.journal'))


def test_an_interrupted_command_goes_on(run, folder, tmp_path, monkeypatch):
    arguments = 'photos', '--names', *TEXTS[:3], '--threshold', '0', '--batch-size', '1'
    run(*arguments, '--coco', tmp_path / 'whole.json')
    stream, looked_at = Eclip.stream, []

    def interrupted(self, inputs, *args, **kwargs):
        def broken():
            for number, value in enumerate(inputs):
                looked_at.append(value)
                if number == 2:
                    raise KeyboardInterrupt
                yield value

        return stream(self, broken(), *args, **kwargs)

    monkeypatch.setattr(Eclip, 'stream', interrupted)
    out = tmp_path / 'parts.json'
    run(*arguments, '--coco', out, expected=130)
    assert not out.exists() and (tmp_path / 'parts.json.journal').exists()
    wrong = run(*arguments[:-4], '--threshold', '0.1', '--coco', out, expected=1).err
    assert 'another threshold' in wrong and wrong.count('\n') == 1
    with open(tmp_path / 'parts.json.journal', 'ab') as file:
        file.write(b'{"file_na')  # as a kill leaves it
    run(*arguments, '--coco', out)
    assert looked_at == [f'photos/{k}.png' for k in (0, 1, 2, 2)]
    assert out.read_bytes() == (tmp_path / 'whole.json').read_bytes()


def test_labelled_photos_fit_the_shape_and_choose_the_threshold(
    run, folder, tmp_path, monkeypatch
):
    """The best boxes of one shape are the labels: that shape and the last of their scores win."""
    monkeypatch.chdir(folder)
    eclip = Eclip('epoch_6.pth', device='cpu', negatives=TEXTS[:3], keep_aspect=True)
    shape, names = BoxShape(0.1, 0.8, 0.5), TEXTS[:3]
    sought = tuple(Sought(name, name) for name in names)
    pictures = [NamedPicture('', f'photos/{k}.png', sought) for k in range(3)]
    found = list(BoxFinder(eclip, BoxSettings(shape=shape))(pictures))
    cut = sorted(box.score for one in found for box in one.boxes)[4]
    images = [dict(id=k, file_name=f'{k}.png', width=48, height=32) for k in range(3)]
    boxes = [
        dict(image_id=k, category_id=names.index(box.label), bbox=[x, y, u - x, v - y])
        for k, one in enumerate(found)
        for box in one.boxes
        if box.score >= cut
        for x, y, u, v in [box.box]
    ]
    boxes = [dict(box, id=number) for number, box in enumerate(boxes)]
    listed = dict(categories=[dict(id=k, name=name) for k, name in enumerate(names)])
    (tmp_path / 'few.json').write_text(
        json.dumps(dict(images=images, annotations=boxes, **listed))
    )
    labelled = '--labelled', tmp_path / 'few.json', '--labelled-images', 'photos'
    shown = run('photos', '--names', *names, *labelled, '--coco', tmp_path / 'o.json').out
    assert f'{shape}, mean IoU 1.000' in shown
    assert f'threshold {cut:g}: precision 1.000, recall 1.000, F1 1.000' in shown
    again = json.loads((tmp_path / 'o.json').read_text())['annotations']
    assert [a['bbox'] for a in again] == [pytest.approx(box['bbox'], abs=0.011) for box in boxes]


def test_a_picture_that_cannot_be_used_is_named_and_the_exit_code_says_so(run, tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos/a.jpg').write_bytes(b'nothing')
    (tmp_path / 'photos/b.png').write_bytes(encode(noise(0)))
    out = tmp_path / 'boxes.json'
    options = '--names', *TEXTS[:2], '--threshold', '0', '--coco', out
    shown = run(tmp_path / 'photos', *options, expected=3)
    assert 'in 1 of 2 pictures' in shown.out and 'a.jpg cannot be decoded' in shown.err
    assert [image['file_name'] for image in json.loads(out.read_text())['images']] == ['b.png']


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (['--coco', 'o.json', '--threshold', '0'], 2, 'needs a catalogue or a folder'),
        (['shop.parquet', '--coco', 'o.json'], 2, 'give --labelled FILE.json'),
        (['0.png', '--names', 'mug', '--threshold', '0'], 2, '--threshold needs --coco'),
        (['0.png'], 2, 'give --names or --names-file'),
        (['0.png', '--names', 'mug', '--squash'], 2, '--squash needs --coco'),
        (['photos', '--coco', 'o.json', '--threshold', '0'], 1, 'give --names or --names-file'),
        (['gone.parquet', '--coco', 'o.json', '--threshold', '0'], 1, 'gone.parquet'),
        (['shop.parquet', '--coco', 'o.json', '--threshold', '2'], 1, 'give a lower one'),
        (
            ['shop.parquet', '--coco', 'o.json', '--threshold', '0', '--min-precision', '1'],
            2,
            '--min-precision needs --labelled',
        ),
        (
            ['photos', '--names', 'cup', '--coco', 'o.json', '--labelled', 'other.json'],
            1,
            "its categories are 'hat', ..., and what is looked for is 'cup'",
        ),
    ],
)
def test_faults_have_a_line(run, folder, arguments, code, words):
    image = dict(id=1, file_name='photos/0.png', width=48, height=32)
    box = dict(id=1, image_id=1, category_id=1, bbox=[1, 1, 20, 20])
    other = dict(images=[image], annotations=[box], categories=[dict(id=1, name='hat')])
    (folder / 'other.json').write_text(json.dumps(other))
    err = run(*arguments, expected=code).err
    assert words in err
    assert code == 2 or err.count('\n') == 1
    assert not (folder / 'o.json').exists() and not (folder / 'o.json.journal').exists()


def test_pictures_in_a_row_with_the_same_names_pass_the_model_together(folder, monkeypatch):
    monkeypatch.chdir(folder)
    eclip, calls = Eclip('epoch_6.pth', device='cpu', negatives=TEXTS), []
    stream = eclip.stream
    monkeypatch.setattr(
        eclip, 'stream', lambda *args, **options: calls.append(options) or stream(*args, **options)
    )
    one, other = ((Sought(name, name),) for name in TEXTS[:2])
    names = one, one, (), other
    pictures = [NamedPicture('here', f'photos/{k % 3}.png', n) for k, n in enumerate(names)]
    found = list(BoxFinder(eclip)(pictures))
    assert [len(each.boxes) for each in found] == [1, 1, 0, 1]
    assert [call['names'] for call in calls] == [[TEXTS[0]], [TEXTS[1]]]


def test_how_right_boxes_are(run, folder, program, tmp_path):
    """One photo has drawn boxes, which overlap its two boxes by an IoU of 10 / 24 and of 1."""
    run('photos', '--names', *TEXTS[:2], '--threshold', '0', '--coco', tmp_path / 'all.json')
    real = json.loads((tmp_path / 'all.json').read_text())
    for number, box in enumerate(real['annotations']):
        left, top, width, height = (20, 10, 10, 10) if number % 2 else (0, 0, 10, 10)
        box.update(bbox=[left, top, width, height], score=round(0.9 - number / 10, 1))
    (tmp_path / 'found.json').write_text(json.dumps(real))
    real['annotations'] = real['annotations'][:2]
    real['annotations'][0]['bbox'][2] = 24
    (tmp_path / 'real.json').write_text(json.dumps(real))
    tool, photos = 'analysis_tools/pseudo_box_quality.py', folder / 'photos'
    files = tmp_path / 'found.json', photos, tmp_path / 'real.json', photos
    out, _ = program(tool, *files, '--steps', '1', '--sheet', tmp_path / 'sheet.png')
    rows = [line.strip('| ').split(' | ') for line in out.splitlines()[3:4]]
    assert rows == [['0.800', '2', '0.500', '0.500', '1.000', '1.000']]
    assert '1 of 2 boxes are right' in out and (tmp_path / 'sheet.png').exists()
