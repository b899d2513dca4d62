import copy
from decimal import Decimal

import pytest

from eclip_mm.datasets import CatalogueError, validate_row

GOOD = dict(
    product_id='7',
    text='Red mug',
    category=None,
    images=[
        dict(path='7.jpg', source='merchant'),
        dict(bytes=b'x', source='video', boxes=[dict(bbox=[0, 1.5, 3, 4], product_id='7')]),
    ],
)


def _with(path, value):
    row = copy.deepcopy(GOOD)
    *parents, last = path
    target = row
    for key in parents:
        target = target[key]
    if value is DELETE:
        del target[last]
    else:
        target[last] = value
    return row


DELETE = object()
BOX = ('images', 1, 'boxes', 0)


def test_good_row_passes():
    validate_row(GOOD, 'here')
    validate_row(_with(('category',), DELETE), 'here')
    validate_row(_with(('images', 1, 'boxes'), []), 'here')
    validate_row(_with(('images', 1, 'boxes'), None), 'here')


@pytest.mark.parametrize(
    ('path', 'value', 'field', 'advice'),
    [
        (('txet',), 'a', "'txet'", 'spelling'),
        (('text',), DELETE, "'text' is missing", 'title or description'),
        (('text',), '  ', "'text' is blank", 'title or description'),
        (('text',), 3, "'text' is 3 (int)", 'title or description'),
        (('product_id',), 12, "'product_id' is 12 (int)", 'leading zeros'),
        (('product_id',), 10**30, "'product_id' is 1000", 'leading zeros'),
        (('product_id',), Decimal('7'), "'product_id' is Decimal('7')", 'leading zeros'),
        (('product_id',), True, "'product_id' is True (bool)", 'as a string'),
        (('product_id',), 'a\ud83d', 'half a surrogate pair', 'whole character'),
        (('text',), 'a\ud83d', 'half a surrogate pair', 'whole character'),
        (('text',), '\u200b\ufeff \u3164', "'text' is blank", 'title or description'),
        (('category',), [[[[[[[[]]]]]]]], "'category' is [[[[[[[...", 'null'),
        (('product_id',), '', "'product_id' is empty", 'as a string'),
        (('category',), '', "'category' is empty", 'null'),
        (('images',), [], "'images' is empty", 'at least one'),
        (('images',), DELETE, "'images' is missing", 'at least one'),
        (('images',), 'a.jpg', "'images' is 'a.jpg' (str)", 'list'),
        (('images', 0), 'a.jpg', "'images[0]' is 'a.jpg'", "'source'"),
        (('images', 0, 'path'), DELETE, "'images[0]' has neither", 'give one'),
        (('images', 0, 'path'), 'a\0b', 'NUL', 'relative'),
        (('images', 0, 'source'), 'a\udc80', 'half a surrogate pair', 'whole character'),
        (('images', 0, 'path'), ' ', "'images[0].path' is blank", 'relative'),
        (('images', 1, 'bytes'), b'', "'images[1].bytes' is empty", 'JPEG'),
        (('images', 1, 'bytes'), 'text', "'images[1].bytes' is 'text'", 'JPEG'),
        (('images', 1, 'source'), DELETE, "'images[1].source' is missing", 'merchant'),
        (('images', 1, 'sauce'), 'x', "'sauce'", 'spelling'),
        (('images', 1, 'boxes'), dict(), "'images[1].boxes'", 'list'),
        (BOX, [0, 1, 2, 3], "'images[1].boxes[0]'", 'bbox'),
        ((*BOX, 'score'), 1.0, "'score'", 'spelling'),
        ((*BOX, 'product_id'), DELETE, "'images[1].boxes[0].product_id' is missing", 'name'),
        ((*BOX, 'bbox'), [0, 1, 2], "'images[1].boxes[0].bbox'", 'x1 < x2'),
        ((*BOX, 'bbox'), [0, 1, 2, 'a'], "'images[1].boxes[0].bbox'", 'x1 < x2'),
        ((*BOX, 'bbox'), [0, 1, 2, float('nan')], "'images[1].boxes[0].bbox'", 'x1 < x2'),
        ((*BOX, 'bbox'), [0, 1, 2, 10**400], "'images[1].boxes[0].bbox'", 'x1 < x2'),
        ((*BOX, 'bbox'), [0, 1, 2, 2**24 + 1], "'images[1].boxes[0].bbox'", 'x1 < x2'),
        ((*BOX, 'bbox'), [3, 1, 3, 4], 'which is empty', 'x1 < x2'),
        ((*BOX, 'bbox'), [3, 1, 3 + 1e-9, 4], 'which is empty', 'x1 < x2'),
        ((*BOX, 'bbox'), [0, 4, 3, 1], 'which is empty', 'x1 < x2'),
    ],
)
def test_error_names_place_field_and_remedy(path, value, field, advice):
    with pytest.raises(CatalogueError) as error:
        validate_row(_with(path, value), 'shop.jsonl, row 5')
    message = str(error.value)
    assert message.startswith('shop.jsonl, row 5: ')
    assert field in message
    assert advice in message


def test_a_row_that_is_no_object():
    with pytest.raises(CatalogueError, match='a row is an object'):
        validate_row(['7'], 'shop.jsonl, row 1')
