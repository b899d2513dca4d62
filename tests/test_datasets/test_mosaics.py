import numpy as np
import pytest

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters import write_mosaics
from eclip_mm.datasets.transforms import LoadProductImages
from helpers.catalogues import encode, make_rows, write_rows

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]


def one_colour(width, height, colour):
    return encode(np.full((height, width, 3), colour, dtype=np.uint8))


@pytest.fixture
def photos(tmp_path):
    """Five products, each photo of one colour; the merchant pictures are black."""
    rows = make_rows(5)
    for row, colour in zip(rows, COLOURS, strict=True):
        row['images'] = [
            dict(bytes=one_colour(30, 20, (0, 0, 0)), source='merchant'),
            dict(bytes=one_colour(30, 20, colour), source='comment'),
            dict(bytes=one_colour(20, 40, colour), source='comment'),
        ]
    return write_rows(rows, tmp_path / 'photos.parquet')


def test_every_box_shows_the_product_that_it_names(photos, tmp_path):
    target = tmp_path / 'mosaics.parquet'
    assert write_mosaics(photos, target, sources=['comment'], cell_size=16) == (10, [])
    rows = read_catalogue(target)
    assert list(rows.product_ids) == [f'p{i}' for i in range(5)]
    places = set()
    for index in range(5):
        row = rows.load(index)
        assert row['text'] == f'Product number {index}' and len(row['images']) == 2
        loaded = LoadProductImages()(dict(image_records=row['images']))
        for picture, boxes, names in zip(
            loaded['images'], loaded['boxes'], loaded['box_product_ids'], strict=True
        ):
            assert picture.size == (32, 32) and len(set(names)) == 4
            places.add(names.index(f'p{index}'))
            for (x0, y0, x1, y1), name in zip(boxes.astype(int), names, strict=True):
                # away from the cell's edge, where JPEG's blocks mix colours
                cell = np.asarray(picture)[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
                np.testing.assert_allclose(cell.mean((0, 1)), COLOURS[int(name[1:])], atol=8)
    assert len(places) > 1
    again = tmp_path / 'again.parquet'
    write_mosaics(photos, again, sources=['comment'], cell_size=16)
    assert again.read_bytes() == target.read_bytes()


def test_broken_photos_and_too_few_products(photos, tmp_path):
    rows = make_rows(5)
    rows[0]['images'] = [dict(bytes=b'no picture', source='comment')]
    broken = write_rows(rows, tmp_path / 'broken.parquet')
    written, problems = write_mosaics(broken, tmp_path / 'm.parquet', cell_size=8)
    assert written == sum(len(r['images']) for r in rows[1:])
    assert len(problems) == 1 and problems[0].startswith('p0: ')
    with pytest.raises(CatalogueError, match='5 products have photos, too few .* 3 x 3'):
        write_mosaics(photos, tmp_path / 'n.parquet', grid=3)
    assert not (tmp_path / 'n.parquet').exists()


def test_tool(program, photos, tmp_path):
    command = ('dataset_converters/mosaics.py', photos, tmp_path / 'm.parquet')
    text, _ = program(*command)
    assert text.strip().endswith('m.parquet: 15 mosaics')
    _, error = program(*command, '--sources', 'video', expected=1)
    assert error.splitlines()[-1].startswith('error: ')
