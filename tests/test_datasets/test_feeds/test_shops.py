"""Exports of shop systems, made by hand after their public documentation, become catalogues."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters.feed import Feed, convert_feed
from helpers.catalogues import encode
from helpers.feeds import EXPORTS, colour_of, with_local_pictures


def convert(export, folder, target='catalogue.parquet', settings=None, **options):
    report = convert_feed(Feed(export, settings=settings), folder / target, **options)
    return read_catalogue(folder / target, strict=True), report


def rows_of(catalogue):
    return {row['product_id']: row for row in catalogue}


def colours(row):
    arrays = (np.asarray(Image.open(io.BytesIO(image['bytes']))) for image in row['images'])
    return [tuple(array[0, 0].tolist()) for array in arrays]


@pytest.mark.parametrize('shop', EXPORTS)
@pytest.mark.parametrize('target', ['catalogue.parquet', 'catalogue.jsonl'])
def test_every_product_is_written_and_nothing_is_left_out(shop, target, tmp_path):
    export = with_local_pictures(EXPORTS[shop], tmp_path)
    catalogue, report = convert(export, tmp_path, target)
    assert Feed(export).mapping.shop == shop
    assert len(catalogue) == report.num_products == 8
    assert not report.problems and not report.warnings
    assert report.num_rows == dict(shopify=18, google=10, woocommerce=10, magento=11)[shop]


def test_shopify_merges_variants_and_pictures_of_a_handle(tmp_path):
    export = with_local_pictures(EXPORTS['shopify'], tmp_path)
    catalogue, _ = convert(export, tmp_path)
    rows = rows_of(catalogue)
    mug = rows['clay-mug']
    assert mug['text'].startswith('Clay Mug. Potter & Sons Red, Small, Blue, Large. ')
    assert mug['category'] == 'Mugs'
    names = [f'/files/clay-mug-{name}.png' for name in ('red', 'blue', 'shelf')]
    assert colours(mug) == [colour_of(name) for name in names]
    found = mug['attributes']
    assert found['Color'] == ['Red', 'Blue'] and found['Size'] == ['Small', 'Large']
    assert (found['Variant Price'], found['Variant Price_max']) == (12.5, 15.0)
    # codes stay codes, with their zeros
    assert found['Variant Barcode'] == ['0012345678905', '0012345678912', '0012345678929']
    assert found['Tags'] == ['kitchen', 'gift']
    assert found['Published'] is True
    bowl = rows['glass-bowl']
    assert 'Default Title' not in bowl['text'] + json.dumps(bowl['attributes'])


def test_shopify_names_columns_in_two_ways(tmp_path):
    """The headers of 2025: 'URL handle', 'Product image URL', 'Option1 name'."""
    export = with_local_pictures(EXPORTS['shopify'], tmp_path)
    old, _ = convert(export, tmp_path, 'old.parquet')
    text = export.read_text(encoding='utf-8')
    for before, after in (
        ('Handle,Title,Body (HTML)', 'URL handle,Title,Description'),
        ('Option1 Name,Option1 Value', 'Option1 name,Option1 value'),
        ('Image Src', 'Product image URL'),
        (',Variant Image,', ',Variant image URL,'),
    ):
        assert before in text
        text = text.replace(before, after)
    (tmp_path / 'new.csv').write_text(text, encoding='utf-8')
    new, _ = convert(tmp_path / 'new.csv', tmp_path, 'new.parquet')
    assert [row['text'] for row in new] == [row['text'] for row in old]
    assert [len(row['images']) for row in new] == [len(row['images']) for row in old]


def test_google_merges_an_item_group(tmp_path):
    export = with_local_pictures(EXPORTS['google'], tmp_path)
    catalogue, _ = convert(export, tmp_path)
    shirt = rows_of(catalogue)['TS-1']
    assert shirt['text'] == (
        'Cotton T-Shirt. Acme Red, Blue Cotton. Soft T-shirt with a round neck.'
    )
    assert shirt['category'] == 'Apparel > Shirts & Tops'
    # 'w_400,h_400' is no list of two pictures
    names = ('shirt-red', 'shirt-blue', 'shirt-red-back', 'shirt-label', 'shirt-blue-back')
    assert colours(shirt) == [colour_of(f'/p/w_400,h_400/{name}.png') for name in names]
    found = shirt['attributes']
    assert (found['price'], found['price_max'], found['price_currency']) == (15.0, 17.0, 'EUR')
    assert found['color'] == ['Red', 'Blue'] and found['size'] == ['S', 'M']
    assert found['gtin'][0] == '4006381333930'
    assert rows_of(catalogue)['010']['text'].startswith('Wool Scarf. Nordlys Grey Wool.')


def test_variants_stay_apart_if_the_id_says_so(tmp_path):
    export = with_local_pictures(EXPORTS['google'], tmp_path)
    catalogue, _ = convert(export, tmp_path, settings=dict(product_id=['id']))
    assert len(catalogue) == 10
    assert rows_of(catalogue)['003']['text'].startswith('Cotton T-Shirt. Acme Blue Cotton.')


def test_woocommerce_merges_variations_with_their_parent(tmp_path):
    export = with_local_pictures(EXPORTS['woocommerce'], tmp_path)
    catalogue, _ = convert(export, tmp_path)
    rows = rows_of(catalogue)
    hoodie = rows['woo-hoodie']  # one variation names the parent by SKU, one by id
    assert hoodie['text'].startswith('Hoodie. Blue, Green, Yes, No.')
    assert hoodie['category'] == 'Clothing > Hoodies'
    assert len(hoodie['images']) == 3
    found = hoodie['attributes']
    assert found['Color'] == ['Blue', 'Green'] and found['Logo'] == ['Yes', 'No']
    assert (found['Regular price'], found['Regular price_max']) == (42.0, 45.0)
    assert rows['id:61']['text'].startswith('Album. Music.')  # a product without a SKU
    assert not {'Parent', 'Attribute 1 name', 'Attribute 1 visible'} & set(found)


def test_magento_merges_a_configurable_product_and_its_translations(tmp_path):
    export = with_local_pictures(EXPORTS['magento'], tmp_path)
    catalogue, _ = convert(export, tmp_path)
    hoodie = rows_of(catalogue)['MH01']
    assert hoodie['text'].startswith('Chaz Kangeroo Hoodie. Black, Orange Fleece, Hemp')
    assert hoodie['category'] == 'Default Category/Men/Tops/Hoodies & Sweatshirts'
    names = ('black_main', 'orange_main', 'black_alt1', 'black_back')
    assert colours(hoodie) == [colour_of(f'/m/h/mh01-{name}.png') for name in names]
    found = hoodie['attributes']
    assert found['climate'] == ['All-Weather', 'Cool', 'Indoor']
    assert found['style_general'] == 'Hooded, zipped'  # a comma inside of a value
    assert found['sku'] == ['MH01', 'MH01-XS-Black', 'MH01-XS-Orange']
    bag = rows_of(catalogue)['24-MB01']
    assert len(bag['images']) == 2 and 'swatch_image' not in bag['attributes']


def write_datasets_parquet(path, features, columns):
    """A file as ``datasets`` exports it: pictures as structs, features in the metadata."""
    table = pa.table(columns)
    stored = json.dumps(dict(info=dict(features=features)))
    pq.write_table(table.replace_schema_metadata({'huggingface': stored}), path, row_group_size=2)


def test_datasets_stores_pictures_and_names_of_classes(tmp_path):
    values = [40, 80, 120]
    pictures = [
        dict(bytes=encode(np.full((9, 9, 3), v, np.uint8)), path=f'{v}.png') for v in values
    ]
    write_datasets_parquet(
        tmp_path / 'train-00000-of-00001.parquet',
        dict(
            image=dict(_type='Image'),
            label=dict(_type='ClassLabel', names=['cup', 'bowl']),
            caption=dict(_type='Value', dtype='string'),
        ),
        dict(image=pictures, label=[1, 0, -1], caption=['A bowl', 'A cup', 'A thing']),
    )
    catalogue, report = convert(tmp_path, tmp_path / 'out')
    assert [row['product_id'] for row in catalogue] == ['row-1', 'row-2', 'row-3']
    assert [row['text'] for row in catalogue] == ['A bowl', 'A cup', 'A thing']
    assert [row['category'] for row in catalogue] == ['bowl', 'cup', None]
    assert [colours(row)[0][0] for row in catalogue] == values
    assert not report.problems


def test_datasets_with_several_pictures_a_row_and_an_arrow_file(tmp_path):
    grey = [encode(np.full((9, 9, 3), v, np.uint8)) for v in (40, 80, 120)]
    table = pa.table(
        dict(
            id=['a', 'a', 'b'],
            title=['First', 'First', 'Second'],
            price=[1.5, 2.5, None],
            images=[[dict(bytes=grey[0])], [dict(bytes=grey[1]), dict(bytes=None)],
                    [dict(bytes=grey[2])]],
        )
    )  # fmt: skip
    path = tmp_path / 'data-00000-of-00001.arrow'
    with pa.OSFile(str(path), 'wb') as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    catalogue, _ = convert(path, tmp_path)
    rows = rows_of(catalogue)
    assert [c[0] for c in colours(rows['a'])] == [40, 80] and colours(rows['b'])[0][0] == 120
    assert rows['a']['attributes'] == dict(price=1.5, price_max=2.5)
    assert 'attributes' not in rows['b']


def test_an_image_folder_of_datasets_has_paths_in_its_table(tmp_path):
    (tmp_path / 'metadata.csv').write_text('file_name,text\na/1.png,Red cup\n2.png,Blue cup\n')
    (tmp_path / 'a').mkdir()
    for name, value in (('a/1.png', 50), ('2.png', 90)):
        (tmp_path / name).write_bytes(encode(np.full((9, 9, 3), value, np.uint8)))
    catalogue, _ = convert(tmp_path / 'metadata.csv', tmp_path)
    assert [(row['text'], colours(row)[0][0]) for row in catalogue] == [
        ('Red cup', 50),
        ('Blue cup', 90),
    ]


def test_a_shop_that_the_columns_contradict_is_refused(tmp_path):
    with pytest.raises(CatalogueError, match='is no export of magento: it has no column sku'):
        Feed(EXPORTS['google'], shop='magento')
