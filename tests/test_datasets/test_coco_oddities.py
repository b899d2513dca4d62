"""Odd but real COCO files in every form that the converter writes."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters import convert_coco
from helpers.catalogues import encode
from helpers.coco_cases import CASES, EMPTY, FILES, NO_COCO, Case, sound, write_pictures
from helpers.coco_fuzz import changed_files

FORMS = {
    'frames.parquet': {},
    'frames.jsonl': {},
    'small.parquet': dict(max_size=20),
    'crops.parquet': dict(pictures='crops', min_crop=1),
    'both.jsonl': dict(pictures='both', min_crop=1),
    'rows.parquet': dict(rows='frames'),
}
SCALES = {'small.parquet': 0.5}


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp('pictures'))


def convert(data, root, target, **options):
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    path = target.parent / 'coco.json'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return convert_coco(path, root, target, **options)


def kinds(report):
    return {k: len(v) for part in (report.faults.faults, report.faults.notes)
            for k, v in part.items()}  # fmt: skip


def shown_file(image):
    """Name of the file that a stored frame is, by its grey."""
    source = io.BytesIO(image['bytes']) if 'bytes' in image else image['path']
    with Image.open(source) as picture:
        return FILES[round(np.asarray(picture.convert('L')).mean() / 60)]


def found_boxes(images):
    """(file, product, xyxy) of all boxes of stored frames."""
    return {
        (shown_file(image), box['product_id'], tuple(map(float, box['bbox'])))
        for image in images
        for box in image.get('boxes', ())
    }


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_the_fault_costs_itself_in_every_form(case: Case, pictures, tmp_path):
    expected = case.expected()
    for form, options in FORMS.items():
        report = convert(case.data(), pictures, tmp_path / form, **options)
        assert kinds(report) == case.kinds, form
        rows = list(read_catalogue(tmp_path / form, strict=True))
        assert len(rows) == report.num_products
        images = [image for row in rows for image in row['images']]
        frames = [image for image in images if image['source'] == 'video']
        scale, found = SCALES.get(form, 1), found_boxes(frames)
        if form != 'crops.parquet':
            assert found == {(f, p, tuple(scale * v for v in xyxy)) for f, p, xyxy in expected}
        if form.startswith(('crops', 'both')):
            assert len(images) - len(frames) == len(expected), form
        if form.startswith('rows'):
            files = {file.removesuffix('.png') for file, _, _ in expected}
            assert {row['product_id'] for row in rows} == files
        else:
            assert sorted(row['product_id'] for row in rows) == sorted({p for _, p, _ in expected})


@pytest.mark.parametrize('text', NO_COCO, ids=lambda text: text[:20])
def test_no_coco_file_is_one_line(text, pictures, tmp_path):
    with pytest.raises(CatalogueError, match=NO_COCO[text]) as error:
        convert(text, pictures, tmp_path / 'o.parquet')
    assert '\n' not in str(error.value) and str(tmp_path / 'coco.json') in str(error.value)


@pytest.mark.parametrize('name', EMPTY)
@pytest.mark.parametrize('form', FORMS)
def test_no_row_is_an_error_and_leaves_nothing(name, form, pictures, tmp_path):
    with pytest.raises(CatalogueError, match='no row is left'):
        convert(EMPTY[name], pictures, tmp_path / form, **FORMS[form])
    assert [path.name for path in tmp_path.iterdir()] == ['coco.json']


def test_files_in_other_encodings(pictures, tmp_path):
    for encoding in ('utf-8-sig', 'utf-16', 'utf-32'):
        text = json.dumps(sound()).encode(encoding)
        assert convert(text, pictures, tmp_path / 'o.parquet').num_products == 2
    with pytest.raises(CatalogueError, match='cannot be read as JSON') as error:
        convert(json.dumps('münze', ensure_ascii=False).encode('latin-1'), pictures,
                tmp_path / 'o.parquet')  # fmt: skip
    assert '\n' not in str(error.value)


def test_files_that_differ_by_suffix_only_are_two_rows(pictures, tmp_path):
    for k, name in enumerate(('f1.png', 'f1.jpg')):
        (tmp_path / name).write_bytes(encode(np.full((30, 40, 3), 60 * k, np.uint8)))
    data = sound()
    data['images'][1]['file_name'] = 'f1.jpg'
    report = convert(data, tmp_path, tmp_path / 'o.parquet', rows='frames')
    assert report.num_products == 2
    rows = read_catalogue(tmp_path / 'o.parquet', strict=True)
    assert {row['product_id']: shown_file(row['images'][0]) for row in rows} == {
        'f1.png': 'f1.png',
        'f1.jpg': 'f2.png',
    }


def test_half_a_pair_becomes_a_sign_of_its_own(pictures, tmp_path):
    data = sound()
    data['categories'][1].update(name='pot \ud83c', supercategory='\udc00')
    convert(data, pictures, tmp_path / 'o.parquet')
    row = read_catalogue(tmp_path / 'o.parquet', strict=True)[1]
    assert (row['text'], row['category']) == ('pot \ufffd', '\ufffd')


class TestProducts:
    """The file that names the products."""

    ALL = (dict(product_id='m', name='mug', ml=300), dict(product_id='p', name='pot', ml=900))

    def convert(self, entries, root, folder, text='{name}, {ml} ml', **options):
        (folder / 'products.json').write_text(json.dumps(entries))
        report = convert(
            sound(), root, folder / 'o.parquet', products=folder / 'products.json', text=text
        )
        return report, list(read_catalogue(folder / 'o.parquet', strict=True))

    @pytest.mark.parametrize(
        ('entry', 'found'),
        [
            (None, {'broken product': 1, 'no product': 1}),
            ('pot', {'broken product': 1, 'no product': 1}),
            (dict(product_id='p'), {'broken product': 1, 'no product': 1}),
            (dict(product_id='p', name=None, ml=1), {'broken product': 1, 'no product': 1}),
            (dict(name='pot', ml=1), {'broken product': 1, 'no product': 1}),
            (dict(product_id=' ', name='pot', ml=1), {'broken product': 1, 'no product': 1}),
            (dict(product_id='p', name='Pot', ml=1), {'no product': 1}),
            (dict(product_id='p', name='pot'), {'no text': 1}),
            (dict(product_id='p', name='pot', ml=None), {'no text': 1}),
            (dict(product_id='p', name='pot', ml=float('nan')), {'no text': 1}),
        ],
    )
    def test_a_broken_product_costs_itself(self, entry, found, pictures, tmp_path):
        report, rows = self.convert([self.ALL[0], entry], pictures, tmp_path)
        assert kinds(report) == {**found, 'of what is left out': 1}
        assert [(row['product_id'], row['text']) for row in rows] == [('m', 'mug, 300 ml')]

    def test_numbers_and_repetitions_are_named(self, pictures, tmp_path):
        again = dict(product_id='other', name='mug', ml=1)
        entries = [self.ALL[0], again, dict(product_id=7, name='pot', ml=900)]
        report, rows = self.convert(entries, pictures, tmp_path)
        assert kinds(report) == {'repeated product': 1, 'number id': 1}
        assert [row['product_id'] for row in rows] == ['m', '7']

    def test_categories_of_one_product_are_one_row(self, pictures, tmp_path):
        entries = [self.ALL[0], dict(product_id='m', name='pot', ml=1)]
        report, rows = self.convert(entries, pictures, tmp_path)
        assert kinds(report) == {'same product': 1}
        (row,) = rows
        assert (row['product_id'], row['text'], len(row['images'])) == ('m', 'mug, 300 ml', 2)
        assert [len(image['boxes']) for image in row['images']] == [1, 2]

    @pytest.mark.parametrize(
        ('text', 'match'),
        [
            ('{grams} g', "uses the key 'grams'"),
            ('{} g', 'uses the key'),
            ('{name.grams}', 'does not fit'),
            ('{name:d}', 'does not fit'),
            ('{name', 'is not one'),
            ('}', 'is not one'),
            (' ', 'is blank'),
        ],
    )
    def test_templates_that_fit_nothing(self, text, match, pictures, tmp_path):
        with pytest.raises(CatalogueError, match=match):
            self.convert(self.ALL, pictures, tmp_path, text=text)
        assert not (tmp_path / 'o.parquet').exists()

    def test_no_list(self, pictures, tmp_path):
        with pytest.raises(CatalogueError, match='give a JSON list'):
            self.convert({'mug': 'm'}, pictures, tmp_path)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzz')


@settings(max_examples=30, derandomize=True, database=None, deadline=None)
@given(data=changed_files(), form=st.sampled_from(sorted(FORMS)))
def test_whatever_else_is_in_a_file_the_sound_box_is_written(data, form, pictures, folder):
    report = convert(data, pictures, folder / form, **FORMS[form])
    str(report).encode()
    rows = list(read_catalogue(folder / form, strict=True))
    assert len(rows) == report.num_products
    images = [image for row in rows for image in row['images']]
    assert report.num_pictures == len(images)
    found = found_boxes(images)
    scale = SCALES.get(form, 1)
    for _, _, (x1, y1, x2, y2) in found:
        assert 0 <= x1 < x2 <= 40 * scale and 0 <= y1 < y2 <= 30 * scale
    if form.startswith('crops'):
        (row,) = [row for row in rows if row['product_id'] == '1']
        assert any(shown_file(image) == 'f1.png' for image in row['images'])
    else:
        assert ('f1.png', '1', tuple(scale * v for v in (4, 4, 24, 24))) in found


@pytest.mark.data
class TestSharedCases:
    """The inputs of public bug reports."""

    @pytest.mark.parametrize('form', FORMS)
    def test_missing_files(self, form, cases_root, tmp_path):
        root = cases_root / '06-coco-missing-file'
        report = convert_coco(root / 'ann.json', root / 'pics', tmp_path / form, **FORMS[form])
        text = str(report)
        assert 'f2.jpg' in text and 'f4.jpg' in text
        assert 'f1.jpg' not in text and 'f3.jpg' not in text
        rows = read_catalogue(tmp_path / form, strict=True)
        assert len(rows) == (2 if form.startswith('rows') else 1)
        assert report.num_pictures == (4 if form.startswith('both') else 2)

    @pytest.mark.parametrize('form', FORMS)
    def test_oddities(self, form, cases_root, tmp_path):
        """Number of frames in each file, and the kind that is named."""
        root = cases_root / '25-coco-oddities'
        expected = {
            'backslash-file-name': (2, 'other spelling'),
            'bbox-empty': (1, 'no box'),
            'bbox-missing': (1, 'no box'),
            'bbox-nan': (1, 'no box'),
            'bbox-text': (2, 'text number'),
            'bom': (2, None),
            'category-0': (2, None),
            'ids-text': (2, 'text number'),
            'image-id-null': (1, 'unknown image'),
            'no-annotation-id': (2, 'no id'),
            'no-annotations-key': (0, 'missing lists taken as empty'),
            'no-file-name': (0, '2 images without an id or a file_name'),
            'no-size': (2, 'no size'),
            'same-name-categories': (2, 'same name'),
            'size-zero': (2, 'no size'),
        }
        assert {path.stem for path in root.glob('*.json')} == set(expected)
        for name, (frames, kind) in expected.items():
            path, target = root / f'{name}.json', tmp_path / f'{name}{form[form.index(".") :]}'
            pics = root if name == 'backslash-file-name' else root / 'pics'
            if not frames:
                with pytest.raises(CatalogueError, match=kind):
                    convert_coco(path, pics, target, **FORMS[form])
                assert not target.exists()
                continue
            report = convert_coco(path, pics, target, **FORMS[form])
            assert list(kinds(report)) == ([] if kind is None else [kind]), name
            rows = list(read_catalogue(target, strict=True))
            pictures = sum(len(row['images']) for row in rows)
            assert pictures == frames * (2 if form.startswith('both') else 1), name

    def test_blank_supercategory(self, cases_root, tmp_path):
        root = cases_root / '26-coco-supercategory'
        convert_coco(root / 'instances_default.json', root / 'pics', tmp_path / 'o.parquet')
        rows = read_catalogue(tmp_path / 'o.parquet', strict=True)
        assert [(row['text'], row['category']) for row in rows] == [
            ('red mug', None), ('blue mug', None)
        ]  # fmt: skip
