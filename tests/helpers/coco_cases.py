"""Odd but real COCO files: one change each of a sound file, and what it must give."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from helpers.catalogues import encode

REMOVED = object()
MUG, POT = '1', '2'
#: annotation -> (file, product, xyxy) of the sound file
BOXES = {
    1: ('f1.png', MUG, (4, 4, 24, 24)),
    2: ('f2.png', POT, (2, 6, 32, 26)),
    3: ('f2.png', MUG, (10, 0, 28, 18)),
}
FILES = ('f1.png', 'f2.png', 'f3.png', 'sub/a b.png')


def write_pictures(root: Path) -> Path:
    """Write the pictures, each of a grey of its own, and two files that are none."""
    (root / 'sub').mkdir()
    for k, name in enumerate(FILES):
        (root / name).write_bytes(encode(np.full((30, 40, 3), 60 * k, np.uint8)))
    (root / 'page.jpg').write_text('<html>404</html>')
    (root / 'empty.jpg').touch()
    return root


def sound() -> dict:
    """Two images of 40 x 30 and three boxes; the second image and product are to be changed."""
    box = dict(iscrowd=0, area=400)
    return dict(
        images=[dict(id=i, file_name=f'f{i}.png', width=40, height=30) for i in (1, 2)],
        annotations=[
            dict(id=1, image_id=1, category_id=1, bbox=[4, 4, 20, 20], **box),
            dict(id=2, image_id=2, category_id=2, bbox=[2, 6, 30, 20], **box),
            dict(id=3, image_id=2, category_id=1, bbox=[10, 0, 18, 18], **box),
        ],
        categories=[dict(id=1, name='mug'), dict(id=2, name='pot')],
    )


@dataclass
class Case:
    """A change and its result.

    Attributes:
        name: name of the test.
        path: where the change is, such as ``annotations.1.bbox``; ``annotations.+`` appends.
        value: new value, or REMOVED.
        kept: annotations that remain.
        kinds: kind of fault or note -> number.
        boxes: changes of :data:`BOXES`.
        pictures: whether only who opens the pictures can see it, which mmdet's data set does not.
    """

    name: str
    path: str
    value: Any
    kept: tuple = (1, 2, 3)
    kinds: dict = field(default_factory=dict)
    boxes: dict = field(default_factory=dict)
    pictures: bool = False

    def data(self) -> dict:
        """The changed file."""
        data = sound()
        for path, value in zip(self.path.split(), self._values(), strict=True):
            *parents, last = path.split('.')
            place = data
            for key in parents:
                place = place[int(key) if isinstance(place, list) else key]
            value = copy.deepcopy(value) if value is not REMOVED else value
            if value is REMOVED:
                del place[last]
            elif last == '+':
                place.append(value)
            else:
                place[int(last) if isinstance(place, list) else last] = value
        return data

    def _values(self) -> list:
        return self.value if ' ' in self.path else [self.value]

    def expected(self) -> set:
        """(file, product, xyxy) of what remains."""
        return {{**BOXES, **self.boxes}[k] for k in self.kept}


def box(name: str, value, kind: str | None = 'no box', **kwargs) -> Case:
    """Another value of the second box."""
    kept = (1, 3) if kind else (1, 2, 3)
    kwargs.setdefault('kinds', {kind: 1} if kind else {})
    return Case(f'bbox {name}', 'annotations.1.bbox', value, kwargs.pop('kept', kept), **kwargs)


def second(part: str, name: str, key: str, value, kinds: dict | None = None, **kwargs) -> Case:
    """Another value of a key of the second annotation, image or category."""
    return Case(f'{part} {key} {name}', f'{part}.1.{key}', value, kinds=kinds or {}, **kwargs)


def moved(x1, y1, x2, y2) -> dict:
    """The second box in another place."""
    return {2: ('f2.png', POT, (x1, y1, x2, y2))}


GONE = dict(kept=(1, 3))
A, I, C = 'annotations', 'images', 'categories'  # noqa: E741
IMAGE_GONE = {'of what is left out': 2}
BOX_GONE = {'of what is left out': 1}

CASES = [
    Case('sound', 'info', dict(year='')),
    # boxes
    box('removed', REMOVED),
    box('null', None),
    box('empty', []),
    box('of three', [2, 6, 30]),
    box('of five', [2, 6, 30, 20, 0.9]),
    box('nan', [float('nan'), 6, 30, 20]),
    box('infinite', [2, 6, float('inf'), 20]),
    box('with null', [2, 6, None, 20]),
    box('with truth', [2, 6, True, 20]),
    box('in words', ['left', 'top', '30', '20']),
    box('object', dict(x=2, y=6, w=30, h=20)),
    box('nested', [[2, 6], [32, 26]]),
    box('as text', '2,6,30,20'),
    box('beyond floats', [2, 6, 10**400, 20]),
    box('numbers as text', ['2', '6', '30', '20.0'], None, kinds={'text number': 1}),
    box('without width', [2, 6, 0, 20], 'zero area'),
    box('negative width', [32, 6, -30, 20], 'zero area'),
    box('negative height', [2, 26, 30, -20], 'zero area'),
    box('right of the image', [40, 6, 30, 20], 'outside the image'),
    box('left of the image', [-30, 6, 30, 20], 'outside the image'),
    box('below the image', [2, 31, 30, 20], 'outside the image'),
    box('fractions', [0.05, 0.2, 0.75, 0.66], 'below a pixel'),
    box('one edge inside', [39.99, 6, 30, 20], 'below a pixel'),
    box('half outside', [20, 6, 30, 20], None, boxes=moved(20, 6, 40, 26)),
    box('negative corner', [-5, -5, 30, 25], None, boxes=moved(0, 0, 25, 20)),
    box('larger than the image', [-9, -9, 999, 999], None, boxes=moved(0, 0, 40, 30)),
    box('floats', [2.5, 6.25, 30.0, 20.5], None, boxes=moved(2.5, 6.25, 32.5, 26.75)),
    Case(
        'all boxes corners',
        'annotations.0.bbox annotations.1.bbox annotations.2.bbox',
        [[4, 4, 24, 24], [12, 16, 32, 26], [20, 14, 38, 30]],
        kinds={'corners': 1},
        boxes={
            1: ('f1.png', MUG, (4, 4, 28, 28)),
            2: ('f2.png', POT, (12, 16, 40, 30)),
            3: ('f2.png', MUG, (20, 14, 40, 30)),
        },
    ),
    # what boxes refer to
    *(
        second(A, name, key, value, {f'unknown {key.removesuffix("_id")}': 1}, **GONE)
        for key in ('image_id', 'category_id')
        for name, value in (
            ('removed', REMOVED),
            ('null', None),
            ('unknown', 99),
            ('truth', True),
            ('list', [2]),
            ('nan', float('nan')),
            ('blank', ' '),
        )
    ),
    second(A, 'text', 'image_id', '2'),
    second(A, 'float', 'image_id', 2.0),
    second(A, 'text', 'category_id', '2'),
    second(A, 'float', 'category_id', 2.0),
    # annotations
    second(A, 'removed', 'id', REMOVED, {'no id': 1}),
    second(A, 'null', 'id', None, {'no id': 1}),
    second(A, 'object', 'id', {'$oid': 'ab'}, {'no id': 1}),
    second(A, 'zero', 'id', 0),
    second(A, 'text', 'id', 'x7'),
    second(A, 'repeated', 'id', 1, {'repeated id': 1}),
    second(A, 'one', 'iscrowd', 1, {'crowd': 1}, **GONE),
    second(A, 'text one', 'iscrowd', '1', {'crowd': 1}, **GONE),
    second(A, 'true', 'iscrowd', True, {'crowd': 1}, **GONE),
    second(A, 'text zero', 'iscrowd', '0'),
    second(A, 'null', 'iscrowd', None),
    second(A, 'nan', 'iscrowd', float('nan')),
    second(A, 'removed', 'iscrowd', REMOVED),
    second(A, 'set', 'ignore', 1, {'crowd': 1}, **GONE),
    second(A, 'removed', 'area', REMOVED),
    second(A, 'zero', 'area', 0),
    second(A, 'text', 'area', '600'),
    second(A, 'nan', 'area', float('nan')),
    second(A, 'run lengths', 'segmentation', dict(counts=[0, 9, 1191], size=[30, 40])),
    second(A, 'null', 'segmentation', None),
    second(A, 'points', 'keypoints', [3, 3, 2]),
    Case('annotation null', 'annotations.1', None, **GONE, kinds={'no box': 1}),
    Case('annotation text', 'annotations.1', 'x', **GONE, kinds={'no box': 1}),
    Case(
        'annotation twice',
        'annotations.+',
        sound()['annotations'][1],
        kinds={'repeated box': 1, 'repeated id': 1},
    ),
    Case(
        'box twice',
        'annotations.+',
        {**sound()['annotations'][1], 'id': 9},
        kinds={'repeated box': 1},
    ),
    # images
    Case('image null', 'images.1', None, (1,), {'broken image': 1, 'unknown image': 2}),
    second(I, 'removed', 'id', REMOVED, {'broken image': 1, 'unknown image': 2}, kept=(1,)),
    second(I, 'null', 'id', None, {'broken image': 1, 'unknown image': 2}, kept=(1,)),
    second(I, 'text', 'id', '2', {'text number': 1}),
    second(I, 'float', 'id', 2.0),
    Case(
        'image ids words',
        'images.0.id images.1.id annotations.0.image_id annotations.1.image_id '
        'annotations.2.image_id',
        ['17', 'b8', '17', 'b8', 'b8'],
    ),
    Case(
        'image ids large',
        'images.1.id annotations.1.image_id annotations.2.image_id',
        [2**70, 2**70, 2**70],
    ),
    *(
        second(I, name, 'file_name', value, {'broken image': 1, **IMAGE_GONE}, kept=(1,))
        for name, value in (('removed', REMOVED), ('null', None), ('number', 2), ('blank', ' '))
    ),
    *(
        second(I, name, 'file_name', value, {'missing file': 1, **IMAGE_GONE}, kept=(1,))
        for name, value in (
            ('of no file', 'f9.png'),
            ('in other case', 'F2.PNG'),
            ('of a folder', 'sub'),
            ('of the root', '.'),
            ('address', 'https://x.example/f2.png?w=1'),
            ('zero byte', 'f2\0.png'),
            ('half a pair', 'f2\ud800.png'),
            ('endless', 'f' * 5000),
        )
    ),
    *(
        second(
            I,
            name,
            'file_name',
            value,
            {'other spelling': 1} if spelling else {},
            boxes={
                k: ('sub/a b.png', p, xyxy) for k, (f, p, xyxy) in BOXES.items() if f == 'f2.png'
            },
        )
        for name, value, spelling in (
            ('in a folder', 'sub/a b.png', False),
            ('with a dot', './sub/a b.png', False),
            ('with two dots', 'sub/../sub/a b.png', False),
            ('backslash', 'sub\\a b.png', True),
            ('percent', 'sub/a%20b.png', True),
            ('backslash and percent', 'sub\\a%20b.png', True),
        )
    ),
    second(I, 'of a page', 'file_name', 'page.jpg', {'no picture': 1, **IMAGE_GONE}, kept=(1,),
           pictures=True),
    second(I, 'of nothing', 'file_name', 'empty.jpg', {'no picture': 1, **IMAGE_GONE}, kept=(1,),
           pictures=True),
    *(
        second(I, name, key, value, {'no size': 1})
        for key in ('width', 'height')
        for name, value in (
            ('removed', REMOVED),
            ('null', None),
            ('zero', 0),
            ('negative', -30),
            ('nan', float('nan')),
            ('word', 'auto'),
        )
    ),
    second(I, 'text', 'width', '40'),
    second(I, 'float', 'width', 40.0),
    second(I, 'of another size', 'width', 400, {'other size': 1}, pictures=True),
    Case('image twice', 'images.+', sound()['images'][1], kinds={'repeated image': 1}),
    Case(
        'image id repeated',
        'images.+',
        {**sound()['images'][0], 'id': 2},
        kinds={'repeated image': 1},
    ),
    Case(
        'two files in one',
        'images.0 images.1 images.+ annotations.0 annotations.1 annotations.+',
        [*([i for i in sound()['images']]), dict(id=1, file_name='f3.png', width=40, height=30),
         *sound()['annotations'][:2], {**sound()['annotations'][0], 'bbox': [9, 9, 9, 9]}],
        kinds={'repeated image': 1, 'repeated id': 1, **BOX_GONE},
    ),
    Case(
        'file under two ids',
        'images.+ annotations.2.image_id',
        [{**sound()['images'][1], 'id': 7}, 7],
        kinds={'same file': 1},
        pictures=True,
    ),
    Case('image of extra keys', 'images.1.coco_url', ''),
    # categories
    Case('category null', 'categories.1', None, (1, 3),
         {'broken category': 1, 'unknown category': 1}),
    second(C, 'removed', 'id', REMOVED, {'broken category': 1, 'unknown category': 1}, **GONE),
    second(C, 'null', 'id', None, {'broken category': 1, 'unknown category': 1}, **GONE),
    second(C, 'text', 'id', '2', {'text number': 1}),
    second(C, 'float', 'id', 2.0),
    Case('category ids words', 'categories.1.id annotations.1.category_id', ['p', 'p'],
         boxes={2: ('f2.png', 'p', (2, 6, 32, 26))}),
    Case('category ids with zeros', 'categories.1.id annotations.1.category_id', ['002', '002'],
         boxes={2: ('f2.png', '002', (2, 6, 32, 26))}),
    Case('category id zero', 'categories.1.id annotations.1.category_id', [0, 0],
         boxes={2: ('f2.png', '0', (2, 6, 32, 26))}),
    *(
        second(C, name, 'name', value, {'broken category': 1, **BOX_GONE}, **GONE)
        for name, value in (
            ('removed', REMOVED), ('null', None), ('blank', ' '), ('list', ['pot']),
            ('nan', float('nan')), ('truth', True),
        )
    ),
    second(C, 'number', 'name', 501),
    second(C, 'half a pair', 'name', 'pot \ud83c'),
    *(
        second(C, name, 'supercategory', value)
        for name, value in (
            ('empty', ''), ('null', None), ('none', 'none'), ('list', ['a']),
            ('nan', float('nan')),
        )
    ),
    Case('category of a group only', 'categories.+', dict(id=5, supercategory='x'),
         kinds={'broken category': 1}),
    Case('category not used', 'categories.+', dict(id=5, name='lid')),
    Case('category twice', 'categories.+', dict(id=2, name='pot'),
         kinds={'repeated category': 1}),
    Case('category id repeated', 'categories.+', dict(id=2, name='lid'),
         kinds={'repeated category': 1}),
    second(C, 'of another', 'name', 'mug', {'same name': 1}),
    second(C, 'of points', 'skeleton', [[1, 2]]),
]  # fmt: skip

#: what is no COCO file -> a word of the one line that says so
NO_COCO = {
    '': 'cannot be read as JSON',
    '<html><body>404</body></html>': 'cannot be read as JSON',
    '{"images": [': 'cannot be read as JSON',
    '{"id": 1}\n{"id": 2}\n': 'cannot be read as JSON',
    '[' * 100_000: 'cannot be read as JSON',
    '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]': 'is a list',
    'null': 'is null',
    '7': 'is 7',
    '"coco"': 'is a text',
    '{"f1.png": {"regions": []}}': "the key '(images|categories)' is missing",
    '{"images": [], "annotations": []}': "the key 'categories' is missing",
    '{"images": {"1": {}}, "annotations": [], "categories": []}': "'images' is an object",
    '{"images": [], "annotations": null, "categories": []}': "'annotations' is null",
    '{"images": [], "annotations": [], "categories": "mug"}': "'categories' is a text",
}

#: nothing is left to write
EMPTY = {
    key: json.dumps({**sound(), key: []}) for key in ('images', 'annotations', 'categories')
} | {'no annotations': json.dumps({k: v for k, v in sound().items() if k != 'annotations'})}
