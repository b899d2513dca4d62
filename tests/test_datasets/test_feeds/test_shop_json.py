"""Products as the interface of a shop gives them: nested JSON."""

import json

from eclip_mm.datasets import read_catalogue
from eclip_mm.datasets.converters.feed import Feed, convert_feed
from helpers.catalogues import plain_png


def test_products_json_of_shopify_names_pictures_by_objects(tmp_path):
    product = dict(
        id=632910392,
        handle='clay-mug',
        title='Clay Mug',
        body_html='Holds 300 ml.',
        vendor='Potter',
        product_type='Mugs',
        tags=['kitchen', 'gift'],
        variants=[dict(id=1, price='12.50')],
        images=[dict(id=1, src='red.png'), dict(id=2, src='blue.png')],
    )
    (tmp_path / 'products.json').write_text(json.dumps(dict(products=[product]), indent=1))
    for name, value in (('red', 10), ('blue', 20)):
        (tmp_path / f'{name}.png').write_bytes(plain_png(value))
    report = convert_feed(Feed(tmp_path / 'products.json'), tmp_path / 'a.parquet')
    (row,) = read_catalogue(tmp_path / 'a.parquet')
    assert not report.problems and row['product_id'] == 'clay-mug'
    assert row['text'] == 'Clay Mug. Potter. Holds 300 ml.' and row['category'] == 'Mugs'
    assert [image['bytes'] for image in row['images']] == [plain_png(10), plain_png(20)]
    assert row['attributes']['tags'] == ['kitchen', 'gift']
