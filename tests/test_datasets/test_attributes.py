"""Attributes of products through every carrier and reader."""

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from eclip_mm.datasets import (
    CatalogueError,
    ProductDataset,
    ProductImageDataset,
    ProductStream,
    read_catalogue,
)
from eclip_mm.datasets.converters import convert_carrier
from eclip_mm.datasets.picture_choice import choose_all
from eclip_mm.datasets.product_filter import ProductFilter
from eclip_mm.datasets.samples import SampleBuilder
from eclip_mm.datasets.storage.attributes import read_attributes
from eclip_mm.embedding.features import BlockFeatures
from eclip_mm.embedding.products import ProductBlocks
from eclip_mm.embedding.row_ranges import plan_row_ranges
from eclip_mm.embedding.shards import block_table, shard_schema
from helpers.catalogues import make_rows, write_rows

MAP_STYLE = (ProductDataset, ProductImageDataset)
ATTRIBUTES = dict(brand='Käse & Co', price=9.5, sale=False, colours=['red', 'blue'], stock=3)


def rows_with_attributes():
    first, second, third = make_rows(3)
    return [{**first, 'attributes': ATTRIBUTES}, {**second, 'attributes': {}}, third]


def pipeline():
    return [
        dict(type='LoadProductImages'),
        dict(type='Resize', size=8),
        lambda results: {**results, 'input_ids': [1, 2]},
        dict(type='PackProductInputs'),
    ]


@pytest.mark.parametrize('name', ['a.parquet', 'a.jsonl'])
def test_every_reader_gives_the_attributes(name, tmp_path):
    path = write_rows(rows_with_attributes(), tmp_path / name)
    catalogue = read_catalogue(path, strict=True)
    assert [row.get('attributes') for row in catalogue] == [ATTRIBUTES, None, None]
    for kind in (ProductDataset, ProductImageDataset):
        samples = [kind(path, pipeline())[i]['data_samples'] for i in range(3)]
        expected = {s.product_id: ATTRIBUTES if s.product_id == 'p0' else {} for s in samples}
        assert {s.product_id: s.attributes for s in samples} == expected
    (rows,), _ = plan_row_ranges(path, 10)
    block = next(iter(ProductBlocks(rows, SampleBuilder(pipeline(), choose_all))))
    assert not block.faults
    assert [product.attributes for product in block.products] == [ATTRIBUTES, {}, {}]
    schema = shard_schema(['text'], ['product'], 2)
    feats = BlockFeatures(text=torch.zeros(3, 2))
    stored = block_table(block.products, feats, 'f', schema)['attributes'].to_pylist()
    assert json.loads(stored[0]) == ATTRIBUTES and stored[1:] == [None, None]


def test_a_stream_gives_the_attributes(tmp_path):
    path = write_rows(rows_with_attributes(), tmp_path / 'a.parquet')
    stream = ProductStream(path, pipeline(), batch_size=3, num_virtual_workers=1)
    samples = [sample['data_samples'] for sample in stream]
    assert {s.product_id: s.attributes for s in samples} == dict(p0=ATTRIBUTES, p1={}, p2={})


def test_they_survive_the_way_to_the_other_carrier_and_back(tmp_path):
    write_rows(rows_with_attributes(), tmp_path / 'a.parquet')
    convert_carrier(tmp_path / 'a.parquet', tmp_path / 'b.jsonl')
    convert_carrier(tmp_path / 'b.jsonl', tmp_path / 'c.parquet')
    found = [row.get('attributes') for row in read_catalogue(tmp_path / 'c.parquet')]
    assert found == [ATTRIBUTES, None, None]


@pytest.mark.parametrize(
    'column',
    [
        [dict(brand='Acme', price=2.0), dict(brand=None, price=None), None],
        pa.array([[('brand', 'Acme')], [], None], pa.map_(pa.string(), pa.string())),
        ['{"brand": "Acme"}', '{}', None],
    ],
    ids=['struct', 'map', 'json'],
)
def test_other_programs_write_structs_maps_and_json(column, tmp_path):
    """Spark, pandas and Polars have no JSON."""
    table = pq.read_table(write_rows(make_rows(3), tmp_path / 'a.parquet'))
    table = table.drop_columns('attributes').append_column('attributes', pa.array(column))
    pq.write_table(table, tmp_path / 'b.parquet')
    rows = list(read_catalogue(tmp_path / 'b.parquet', strict=True))
    assert rows[0]['attributes']['brand'] == 'Acme'
    assert 'attributes' not in rows[1] and 'attributes' not in rows[2]


def test_a_catalogue_from_before_has_none(tmp_path):
    table = pq.read_table(write_rows(make_rows(3), tmp_path / 'a.parquet'))
    pq.write_table(table.drop_columns('attributes'), tmp_path / 'b.parquet')
    assert len(read_catalogue(tmp_path / 'b.parquet', strict=True)) == 3


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ('{"a": ', 'is not JSON'),
        ('[1]', 'is not an object'),
        ([1], 'is not an object'),
        (dict(a=dict(b=1)), "'a' is {'b': 1}, which is no string, number, bool or list"),
        (dict(a=[1]), r"'a' is \[1\]"),
        (dict(a=float('nan')), "'a' is nan"),
        (dict(a='\ud800'), "'a' is"),
        ({'\udc00': 'x'}, 'is not the name of an attribute'),
        ({' ': 'x'}, 'is not the name of an attribute'),
        ('[' * 100_000, 'is not JSON'),
    ],
)
def test_what_is_no_attribute_is_named(value, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_attributes(value)
    with pytest.raises(CatalogueError, match="row 1: field 'attributes': .*" + message):
        write_rows([{**make_rows(1)[0], 'attributes': value}], tmp_path / 'a.jsonl')


def test_a_bad_row_of_a_parquet_file_costs_itself(tmp_path):
    table = pq.read_table(write_rows(make_rows(3), tmp_path / 'a.parquet')).drop_columns(
        'attributes'
    )
    column = pa.array(['{"a": 1}', '{"a": {"b": 1}}', None])
    pq.write_table(table.append_column('attributes', column), tmp_path / 'b.parquet')
    catalogue = read_catalogue(tmp_path / 'b.parquet')
    assert catalogue.product_ids == ['p0', 'p2']
    assert "row 2: field 'attributes': 'a' is" in catalogue.report.problems[0]


@pytest.mark.parametrize('number', [np.float32(0.5), np.float64(0.5), Decimal('0.5')])
def test_numbers_of_other_libraries_are_floats(number, tmp_path):
    assert type(read_attributes(dict(a=number))['a']) in (float, np.float64)
    path = write_rows([{**make_rows(1)[0], 'attributes': dict(a=number)}], tmp_path / 'a.jsonl')
    assert read_catalogue(path)[0]['attributes'] == dict(a=0.5)


@pytest.mark.parametrize('number', [np.int64(2**53 + 1), Decimal(2**53 + 1)])
def test_large_whole_numbers_of_other_libraries_stay_exact(number):
    assert read_attributes(dict(a=number)) == dict(a=2**53 + 1)


SHOP = [
    dict(brand='Acme', price=5.0, colours=['red', 'blue'], sale=True),
    dict(brand='Nord', price=25.0, colours=['green'], sale=False),
    dict(brand='Acme', price=30, size='20'),
    dict(price='on request'),
    {},
]
FILTERS = [
    ('price<20', [0]),
    ([('price', '>=', 25)], [1, 2]),
    (['price>=5', 'price<=25'], [0, 1]),
    ('brand=Acme', [0, 2]),
    ('brand=Acme,Nord', [0, 1, 2]),
    ([('brand', 'not in', ['Acme'])], [1]),
    ('colours=red,black', [0]),
    ('colours!=red', [1]),
    ('sale=true', [0]),
    ([('sale', '=', False)], [1]),
    ('size>=10', [2]),  # a text: '20' stands behind '10'
    ([('size', '=', 20)], []),
    ('price!=5', [1, 2, 3]),  # a price of words is another one
    ('category=odd', [1, 3]),
    (['category=even', 'brand!=Acme'], []),
    ('brand=Acme, Nord', [0, 1, 2]),
    (None, [0, 1, 2, 3, 4]),
]


@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    """The same five products as JSON Lines, as our Parquet, and with a struct of attributes."""
    folder = tmp_path_factory.mktemp('shop')
    rows = [{**row, 'attributes': found} for row, found in zip(make_rows(5), SHOP, strict=True)]
    paths = [write_rows(rows, folder / name) for name in ('a.jsonl', 'a.parquet')]
    table = pq.read_table(paths[1])
    # a struct has numbers or texts in a field
    structs = pa.array([{k: v for k, v in found.items() if v != 'on request'} for found in SHOP])
    place = table.column_names.index('attributes')
    pq.write_table(table.set_column(place, 'attributes', structs), folder / 'b.parquet')
    return [*paths, folder / 'b.parquet']


@pytest.mark.parametrize(('where', 'kept'), FILTERS)
def test_data_sets_filter_by_attributes(shop, where, kept):
    for path in shop:
        if path.name == 'b.parquet' and where == 'price!=5':
            kept = [1, 2]
        datasets = [kind(path, pipeline(), where=where) for kind in MAP_STYLE]
        if path.suffix == '.parquet':
            datasets.append(ProductStream(path, pipeline(), where=where, batch_size=5))
        for dataset in datasets:
            if not kept:
                with pytest.raises(CatalogueError, match="'where'|no row of"):
                    ids_of(dataset)
                continue
            found = ids_of(dataset)
            assert set(found) == {f'p{i}' for i in kept}
            each = {ProductDataset: 1, ProductImageDataset: 2}.get(type(dataset))
            assert each is None or len(found) == each * len(kept)


def test_an_empty_list_is_a_missing_value_as_in_an_index():
    for where in ('colours!=red', 'colours!=red,blue'):
        assert not ProductFilter('Data', where).keeps(None, dict(colours=[]))


def test_whole_numbers_of_any_size_are_compared_exactly():
    code = 2**53 + 1
    for where in (f'code={code}', [('code', '=', code)]):
        found = ProductFilter('Data', where)
        assert found.keeps(None, dict(code=code)) and not found.keeps(None, dict(code=code - 1))


def ids_of(dataset):
    is_stream = isinstance(dataset, ProductStream)
    samples = dataset if is_stream else (dataset[i] for i in range(len(dataset)))
    return [sample['data_samples'].product_id for sample in samples]


def test_filters_that_are_wrong(shop, log):
    for path in shop[:2]:
        with pytest.raises(CatalogueError, match="the attribute 'prize'; there are brand, cat"):
            len(ProductDataset(path, pipeline(), where='prize<3'))
    for where in ('cheap', [('price', '~', 3)], [3], [('brand', 'not in', 'Acme')]):
        with pytest.raises(ValueError, match="ProductDataset: 'where': "):
            ProductDataset(shop[0], pipeline(), where=where)
    stream = ProductStream(shop[1], pipeline(), where='prize!=3', batch_size=5)
    with pytest.raises(CatalogueError, match='where: prize != 3'):
        next(iter(stream))
    assert "of the first 5 products no product has the attribute 'prize'" in log()
    assert stream.layout['where'] == 'prize != 3'
