"""Which names are looked for in a picture, and how labelled photos choose a threshold."""

import json

import numpy as np
import pytest

from eclip_mm.apis.box_finder import FoundBox, boxes_of_labels
from eclip_mm.apis.box_shape import BoxShape, FitCase, fit_shape
from eclip_mm.apis.labelled_photos import (
    choose,
    curve,
    mark_right,
    read_labelled,
)
from eclip_mm.apis.picture_names import CataloguePictures, FolderPictures, Sought
from eclip_mm.utils.journal import Journal
from helpers.catalogues import plain_png, write_rows


@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    """Two products of one title, in a picture that both have, and a third without category."""
    shared = plain_png(9)
    rows = [
        dict(product_id='a', text='mug', category='red', images=[plain_png(1), shared]),
        dict(product_id='b', text=' mug ', category='blue', images=[shared, plain_png(2)]),
        dict(product_id='c', text='bowl', category=None, images=[plain_png(3)]),
    ]
    for row in rows:
        row['images'] = [dict(bytes=data, source='shop') for data in row['images']]
    return write_rows(rows, tmp_path_factory.mktemp('names') / 'shop.parquet')


def labels(pictures) -> list[list[str]]:
    return [[one.label for one in picture.sought] for picture in pictures]


def test_a_picture_is_looked_at_once_for_the_products_of_all_its_rows(shop):
    assert labels(CataloguePictures(shop)) == [['mug'], ['mug'], ['mug'], ['bowl']]
    own = CataloguePictures(shop, classes='category')
    assert labels(own) == [['red'], ['red', 'blue'], ['blue'], []]
    every = CataloguePictures(shop, 'all', 'category')
    assert labels(every) == [['red', 'blue']] * 4 and len(every) == 4
    assert {one.name for one in every.sought} == {'mug'}
    named = CataloguePictures(shop, names=['cup', 'mug'])
    assert labels(named) == [['cup', 'mug']] * 4
    assert len({pictures.digest() for pictures in (own, every, named)}) == 3
    with pytest.raises(ValueError, match="names_of is 'each'; use one of own, all"):
        CataloguePictures(shop, 'each')


def test_a_folder_of_pictures(tmp_path):
    for name in ('b.png', 'a/c.JPG', 'a/.hidden.png', 'list.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(plain_png(1))
    pictures = FolderPictures(tmp_path, ['mug', 'cup', 'mug'])
    assert [p.picture for p in pictures] == [str(tmp_path / n) for n in ('a/c.JPG', 'b.png')]
    assert labels(pictures) == [['mug', 'cup']] * 2
    before = pictures.digest()
    (tmp_path / 'b.png').write_bytes(plain_png(2, width=30))
    assert pictures.digest() != before
    with pytest.raises(ValueError, match='has no picture'):
        FolderPictures(tmp_path / 'none', ['mug'])


def test_an_annotated_box_fits_one_box_the_best(shop):
    """IoU 0.8 and 0.9 with the one mug, and a cup in its place."""
    found = [
        FoundBox('mug', 0.5, (0, 0, 10, 8)),
        FoundBox('mug', 0.7, (0, 0, 10, 9)),
        FoundBox('cup', 0.9, (0, 0, 10, 10)),
    ]
    boxes = dict(mug=np.array([[0.0, 0, 10, 10]]))
    assert mark_right(found, boxes) == [False, True, False]
    assert mark_right(found, boxes, iou=0.95) == [False] * 3
    boxes['mug'] = np.array([[0.0, 0, 10, 10], [0, 0, 10, 8]])
    assert mark_right(found, boxes) == [True, True, False]


def test_the_threshold_has_the_best_f1_or_a_precision():
    """By hand: 2 of 2, 2 of 4 (equal scores), 3 of 5 right, of 4 annotated boxes."""
    choices = curve([0.5, 0.9, 0.3, 0.5, 0.8], [False, True, True, False, True], 4)
    assert [c.threshold for c in choices] == [0.9, 0.8, 0.5, 0.3]
    assert [c.precision for c in choices] == pytest.approx([1, 1, 1 / 2, 3 / 5])
    assert [c.recall for c in choices] == pytest.approx([1 / 4, 1 / 2, 1 / 2, 3 / 4])
    assert [c.f1 for c in choices] == pytest.approx([2 / 5, 4 / 6, 4 / 8, 6 / 9])
    assert choose(choices).threshold == 0.8  # of equal F1 the highest
    assert choose(choices, min_precision=0.6).threshold == 0.3
    assert choose(choices, min_precision=0.7).threshold == 0.8
    with pytest.raises(ValueError, match='no threshold has a precision of 0.5'):
        choose(curve([0.5, 0.4, 0.3], [False, False, True], 4), min_precision=0.5)
    with pytest.raises(ValueError, match='give one by --threshold'):
        choose(curve([0.5], [False], 4))


def test_a_shape_scales_about_the_centre_and_is_found_again():
    """By hand: 40 x 40 in a picture of 100 x 400, half as large and stretched by 4 ** 0.5."""
    box, size = np.array([[30.0, 100, 70, 140]]), (100, 400)
    assert BoxShape(size=0.5, aspect=1).reshape(box, size).tolist() == [[30, 115, 70, 125]]
    assert BoxShape(size=3).reshape(box, size).tolist() == [[0, 60, 100, 180]]  # cut at the sides
    wide = BoxShape(0.3, 0.9, 1.5)
    cases = [FitCase(box[0] + shift, size, wide.reshape(box + shift, size)) for shift in (0, 10)]
    off = [FitCase(box[0] - 50, size, case.drawn) for case in cases]
    assert fit_shape([(0.1, []), (0.2, off), (0.3, cases)]) == (wide, 1.0)
    with pytest.raises(ValueError, match='nothing was found'):
        fit_shape([(0.1, [])])


def test_boxes_of_two_titles_of_a_label_that_overlap_are_one():
    products = [
        dict(name='mug', boxes=[dict(box=[0, 0, 10, 10], score=0.12345678)]),
        dict(name='cup', boxes=[dict(box=[0, 0, 10, 9], score=0.5)]),
    ]
    sought = [Sought('mug', 'red'), Sought('mug', 'blue'), Sought('cup', 'red')]
    found = boxes_of_labels(products, sought)
    assert [(box.label, box.score) for box in found] == [('red', 0.5), ('blue', 0.123457)]


def test_labelled_photos_are_of_the_names_that_are_looked_for(tmp_path):
    (tmp_path / '0.png').write_bytes(plain_png(1))
    boxes = [dict(id=k, image_id=1, category_id=c, bbox=[k, 2, 5, 6]) for k, c in ((1, 1), (2, 2))]
    names = [dict(id=1, name='mug'), dict(id=2, name='cup')]
    image = dict(id=1, file_name='0.png', width=24, height=16)
    data = dict(images=[image], annotations=boxes, categories=names)
    (tmp_path / 'few.json').write_text(json.dumps(data))
    (photo,) = read_labelled(tmp_path / 'few.json', tmp_path, ['cup', 'hat'])
    assert photo.path == str(tmp_path / '0.png')
    assert {k: v.tolist() for k, v in photo.boxes.items()} == {'cup': [[2, 2, 7, 8]]}
    with pytest.raises(ValueError, match="its categories are 'mug', 'cup', ..., and what is"):
        read_labelled(tmp_path / 'few.json', tmp_path, ['hat'])


def test_a_journal_goes_on_behind_its_last_whole_line(tmp_path):
    path, key = tmp_path / 'j', dict(a=1)
    journal = Journal(path, key)
    journal.append([1], [2])
    journal.close()
    with open(path, 'ab') as file:
        file.write(b'[3')
    journal = Journal(path, key)
    assert journal.num_results == 2 and list(journal) == [[1], [2]]
    journal.append([3])
    assert list(journal) == [[1], [2], [3]]
    journal.close()
    with pytest.raises(ValueError, match=r'another a \(1 there, 2 here\)'):
        Journal(path, dict(a=2))
    path.write_text('["no key"]\n')
    with pytest.raises(ValueError, match='is no journal'):
        Journal(path, key)
