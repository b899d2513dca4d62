import pytest

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters import write_instance_queries
from helpers.catalogues import make_rows, write_rows


def box(product_id, x=0):
    return dict(bbox=[x, 0, x + 5, 5], product_id=product_id)


@pytest.fixture
def photos(tmp_path):
    """The first photo of p0 shows p1, p0 and p1, its second p0 alone; that of p1 has no boxes."""
    rows = make_rows(2)
    rows[0]['images'][0]['boxes'] = [box('p1', 6), box('p0'), box('p1', 12)]
    rows[0]['images'][1]['boxes'] = [box('p0'), box('q')]
    rows[1]['images'][1]['boxes'] = [box('p1')]
    return write_rows(rows, tmp_path / 'photos.parquet')


def test_a_photo_becomes_a_row_with_all_names_and_boxes(photos, tmp_path):
    others = make_rows(1)
    others[0].update(product_id='q', text='Another')
    more = write_rows(others, tmp_path / 'more.parquet')
    target = tmp_path / 'queries.parquet'
    assert write_instance_queries(photos, target, [more]) == (2, 2)
    rows = read_catalogue(target)
    assert list(rows.product_ids) == ['p0#0', 'p0#1']
    assert list(rows.texts()) == [
        'Product number 1, Product number 0',
        'Product number 0, Another',
    ]
    first = rows.load(0)
    assert [b['product_id'] for b in first['images'][0]['boxes']] == ['p1', 'p0', 'p1']
    assert first['images'][0]['bytes'] == read_catalogue(photos).load(0)['images'][0]['bytes']


def test_sources_and_unknown_products(photos, tmp_path):
    target = tmp_path / 'queries.parquet'
    assert write_instance_queries(photos, target, sources=['merchant']) == (1, 1)
    with pytest.raises(CatalogueError, match=r"p0#1 shows product 'q'.*--texts-from"):
        write_instance_queries(photos, tmp_path / 'b.parquet')
    with pytest.raises(CatalogueError, match='no photo has boxes of 5 products'):
        write_instance_queries(photos, tmp_path / 'b.parquet', min_products=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['photos.parquet', 'queries.parquet']


def test_tool(program, photos, tmp_path):
    command = ('dataset_converters/instance_queries.py', photos, tmp_path / 'q.parquet')
    text, _ = program(*command, '--sources', 'merchant')
    assert text.strip().endswith('q.parquet: 1 photos written, 1 with fewer products left out')
    _, error = program(*command, expected=1)
    assert error.splitlines()[-1].startswith('error: ')
