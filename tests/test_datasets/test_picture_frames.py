"""Boxes of photos that are stored turned: in a catalogue, in COCO, and from one to the other."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from eclip_mm.datasets import CatalogueError, read_catalogue, write_jsonl
from eclip_mm.datasets.converters import convert_catalogue_boxes, convert_coco
from eclip_mm.datasets.transforms import LoadProductImages
from helpers.pictures import QUARTER, SEEN, inside, quarter_of, quarter_picture, save
from helpers.pictures import orientation_exif as exif_of


def shown_box(image):
    """A catalogue image as loaded, and the pixels in its first box."""
    loaded = LoadProductImages()(dict(image_records=[image]))
    array = np.asarray(loaded['images'][0])
    return array, inside(loaded['boxes'][0][0], array.shape)


def matches(image) -> bool:
    array, marked = shown_box(image)
    return np.mean(marked == quarter_of(array)) > 0.95


def seen_box(orientation):
    """(x, y, w, h) of the quarter in the picture as seen, and the size of that."""
    mask = SEEN[orientation](inside(QUARTER, (40, 60)))
    ys, xs = np.nonzero(mask)
    box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    return [int(v) for v in box], mask.shape[::-1]


@pytest.mark.parametrize('flavour', ['jpeg', 'png', 'webp', 'tiff', 'tiff_lzw'])
def test_catalogue_boxes_of_turned_photos(tmp_path, flavour):
    """COCO boxes lie on the picture beside them, whether a reader knows EXIF or not."""
    rows = [
        dict(
            product_id=f'p{orientation}',
            text='mug',
            images=[
                dict(
                    bytes=quarter_picture(flavour, orientation),
                    source='x',
                    boxes=[dict(bbox=list(QUARTER), product_id=f'p{orientation}')],
                )
            ],
        )
        for orientation in SEEN
    ]
    write_jsonl(rows, tmp_path / 'c.jsonl')
    convert_catalogue_boxes(tmp_path / 'c.jsonl', tmp_path / 'coco.json', tmp_path / 'images')
    coco = json.loads((tmp_path / 'coco.json').read_text())
    assert len(coco['images']) == len(coco['annotations']) == 8
    for orientation, image, annotation in zip(
        SEEN, coco['images'], coco['annotations'], strict=True
    ):
        with Image.open(tmp_path / 'images' / image['file_name']) as picture:
            assert picture.getexif().get(0x0112, 1) == 1
            array = np.asarray(picture.convert('RGB'))
        box, size = seen_box(orientation)
        assert (image['width'], image['height']) == array.shape[1::-1] == size
        assert annotation['bbox'] == box
        x, y, w, h = annotation['bbox']
        assert np.mean(inside((x, y, x + w, y + h), array.shape) == quarter_of(array)) > 0.95


@pytest.mark.data
def test_case_of_catalogue_boxes(cases_root, tmp_path):
    convert_catalogue_boxes(
        cases_root / '04-boxes-exif-roundtrip' / 'cat.jsonl', tmp_path / 'c.json', tmp_path
    )
    coco = json.loads((tmp_path / 'c.json').read_text())
    (image,), (annotation,) = coco['images'], coco['annotations']
    assert (image['width'], image['height']) == (80, 120)
    assert annotation['bbox'] == [8, 10, 30, 30]
    with Image.open(tmp_path / image['file_name']) as picture:
        assert picture.size == (80, 120)
        red, green, blue = np.asarray(picture.convert('RGB'))[10:40, 8:38].reshape(-1, 3).T
    assert red.min() > 180 and max(green.max(), blue.max()) < 80


class TestCoco:
    """A file whose tool saw the photos as stored, or turned by EXIF."""

    @pytest.fixture
    def write(self, tmp_path):
        def write(drawn_on, orientations, square=False):
            """Photos with the quarter boxed in the picture that the tool saw."""
            images, annotations = [], []
            for i, orientation in enumerate(orientations):
                data = quarter_picture('jpeg', orientation)
                box, size = seen_box(orientation)
                if drawn_on == 'stored':
                    box, size = [0, 0, 30, 20], (60, 40)
                if square:  # the picture is mostly padding, below and on the right
                    plain = Image.open(io.BytesIO(quarter_picture('png')))
                    padded = Image.new('RGB', (60, 60), (0, 0, 200))
                    padded.paste(plain)
                    data = save(padded, 'JPEG', exif=exif_of('H', 3, orientation), quality=95)
                    mask = SEEN[orientation if drawn_on == 'seen' else 1](
                        inside(QUARTER, (60, 60))
                    )
                    ys, xs = np.nonzero(mask)
                    box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
                    size = (60, 60)
                (tmp_path / f'{i}.jpg').write_bytes(data)
                width, height = size
                images.append(dict(id=i, file_name=f'{i}.jpg', width=width, height=height))
                annotations.append(dict(id=i + 1, image_id=i, category_id=1, bbox=box))
            coco = dict(
                images=images, annotations=annotations, categories=[dict(id=1, name='mug')]
            )
            (tmp_path / 'coco.json').write_text(json.dumps(coco))

        return write

    @pytest.fixture
    def convert(self, tmp_path):
        def convert(suffix='.parquet', **options):
            target = tmp_path / f'out{suffix}'
            report = convert_coco(tmp_path / 'coco.json', tmp_path, target, **options)
            return read_catalogue(target, strict=True)[0]['images'], report

        return convert

    @pytest.mark.parametrize('drawn_on', ['stored', 'seen'])
    def test_sizes_decide(self, write, convert, drawn_on):
        """Whole, smaller, as files and cut out: the box stays on what was boxed."""
        write(drawn_on, [1, 5, 6, 7, 8])
        for options in (dict(), dict(max_size=30), dict(suffix='.jsonl')):
            images, report = convert(**options)
            assert len(images) == 5 and not report.faults.lines()
            assert all(matches(image) for image in images), options
        crops, _ = convert(pictures='crops')
        for crop in crops:
            array = np.asarray(Image.open(io.BytesIO(crop['bytes'])))
            assert sorted(array.shape[:2]) == [20, 30]
            assert quarter_of(array).mean() > 0.95

    @pytest.mark.parametrize('drawn_on', ['stored', 'seen'])
    @pytest.mark.parametrize('kind', ['half turn', 'square'])
    def test_sizes_fit_both(self, write, convert, drawn_on, kind):
        if kind == 'half turn':
            write(drawn_on, [2, 3, 4])
        else:
            write(drawn_on, [3, 6, 8], square=True)
        images, report = convert(boxes=drawn_on)
        assert all(matches(image) for image in images) and not report.faults.lines()
        images, report = convert()
        assert all(matches(image) for image in images) == (drawn_on == 'seen')
        (note,) = report.faults.lines()
        assert '3 photos turned by EXIF' in note and '--boxes says it' in note
        assert "0.jpg ('seen' is assumed)" in note

    def test_other_photos_decide(self, write, convert):
        write('stored', [6, 3, 2])
        images, report = convert()
        assert all(matches(image) for image in images)
        assert "'stored' is assumed" in report.faults.notes['turned'][0]

    @pytest.mark.parametrize('flavour', ['jpeg', 'png', 'tiff'])
    @pytest.mark.parametrize('kind', ['none', 'other'])
    @pytest.mark.parametrize('drawn_on', ['auto', 'seen', 'stored'])
    def test_sizes_that_do_not_fit(self, write, convert, tmp_path, flavour, kind, drawn_on):
        """Without a size, boxes are not cut by that of the picture in the other frame."""
        write('stored' if drawn_on == 'stored' else 'seen', [6, 8])
        coco = json.loads((tmp_path / 'coco.json').read_text())
        for image, orientation in zip(coco['images'], (6, 8), strict=True):
            data = quarter_picture(flavour, orientation)
            (tmp_path / image['file_name']).write_bytes(data)
            image.update(width=400, height=600) if kind == 'other' else image.pop('width')
        (tmp_path / 'coco.json').write_text(json.dumps(coco))
        images, report = convert(boxes=drawn_on)
        assert len(images) == 2 and all(matches(image) for image in images)
        size = 'other size' if kind == 'other' else 'no size'
        assert set(report.faults.notes) == {size} | ({'turned'} if drawn_on == 'auto' else set())
        if kind == 'other':
            seen = '60 x 40' if drawn_on == 'stored' else '40 x 60'
            assert f'is {seen}, the list says 400 x 600' in report.faults.notes[size][0]

    def test_a_size_that_is_turned_without_exif(self, write, convert, tmp_path):
        write('seen', [1])
        coco = json.loads((tmp_path / 'coco.json').read_text())
        coco['images'][0].update(width=40, height=60)
        (tmp_path / 'coco.json').write_text(json.dumps(coco))
        assert 'other size' in convert()[1].faults.notes

    def test_an_unknown_word(self, write, convert):
        write('seen', [1])
        with pytest.raises(CatalogueError, match="'turned'; use one of auto, stored, seen"):
            convert(boxes='turned')

    def test_pictures_that_cannot_be_read(self, write, convert, tmp_path):
        """They are named, whether frames are copied or not."""
        write('seen', [1, 1, 1, 1])
        (tmp_path / '1.jpg').write_text('<html>')
        (tmp_path / '2.jpg').unlink()
        (tmp_path / '3.jpg').write_bytes((tmp_path / '3.jpg').read_bytes()[:-300])
        for suffix in ('.parquet', '.jsonl'):
            images, report = convert(suffix=suffix)
            faults = report.faults.faults
            assert len(images) == 1
            assert 'HTML page' in faults['no picture'][0]
            assert '2.jpg' in faults['missing file'][0] and '3.jpg' in faults['unreadable'][0]
