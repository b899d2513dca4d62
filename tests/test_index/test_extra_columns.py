"""Columns of a user's own files: what is joined, and names that are taken."""

from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eclip_mm.cli import main
from eclip_mm.index import VectorIndex
from eclip_mm.index.extra_columns import check_names, read_columns
from helpers.feature_folders import write_features

TAKEN = (
    'file row category attributes picture source score rank query id embedding vector ctid xmin '
    '_id _source'
).split()


def csv(folder, text, name='columns.csv'):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize('name', TAKEN)
def test_a_name_that_is_taken_is_one_line_before_anything_is_written(tmp_path, capsys, name):
    write_features(tmp_path / 'features', ['p0', 'p1'])
    path = csv(tmp_path, f'product_id,price,{name}\np0,1,2\n')
    index = tmp_path / 'index'
    arguments = ['index', 'build', str(index), str(tmp_path / 'features'), '--columns', str(path)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert f'{path}: column {name!r}' in error and error.count('\n') == 1
    assert not index.exists()


@pytest.mark.parametrize(
    'text, words',
    [
        ('product_id,a,a\np0,1,2\n', "column 'a' is there twice"),
        ('product_id,product_id\np0,p1\n', "column 'product_id' is there twice"),
        ('id,a\np0,1\n', 'the column product_id is missing'),
        ('product_id,a\np0,1\np0,2\n', "product_id 'p0' is there twice"),
        ('product_id,b\np0,1\n', "column 'b' is in .*b.csv and in .*columns.csv"),
    ],
)
def test_columns_that_do_not_fit(tmp_path, text, words):
    other = csv(tmp_path, 'product_id,b\np0,1\n', 'b.csv')
    paths = [other, csv(tmp_path, text)]
    with pytest.raises(ValueError, match=words):
        check_names(dict(zip(paths, read_columns(paths), strict=True)))


@pytest.mark.parametrize('name', ['a.parquet', 'a.csv', 'a.jsonl', 'a.xlsx'])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f'{name}: cannot be read .'):
        read_columns([csv(tmp_path, '"\x00{', name)])


def test_ids_keep_their_zeros_and_the_index_of_pandas_is_left_out(tmp_path):
    (table,) = read_columns([csv(tmp_path, ',product_id,price\n0,00123,5\n1,124,6\n')])
    assert table.to_pydict() == dict(product_id=['00123', '124'], price=[5, 6])


def test_types_of_other_programs_can_be_compared(tmp_path):
    write_features(tmp_path / 'features', ['p0', 'p1', 'p2'])
    columns = dict(
        product_id=pa.array(['p0', 'p1', 'p2'], pa.large_string()),
        brand=pa.array(['x', 'y', 'x']).dictionary_encode(),
        shop=pa.array(['a', 'b', None], pa.string_view()),
        price=pa.array([Decimal('1.50'), Decimal('2.50'), None]),
        weight=[1.0, float('nan'), 3.0],
        code=pa.array([Decimal(2**53 + 1), Decimal(2**53), None], pa.decimal128(38, 0)),
        nothing=pa.nulls(3),
    )
    pq.write_table(pa.table(columns), tmp_path / 'own.parquet', store_schema=True)
    index = VectorIndex.build(
        tmp_path / 'index', tmp_path / 'features', columns=[tmp_path / 'own.parquet']
    )
    query = index.vectors_of('p0')[0]

    def found(*where):
        return {hit['product_id'] for hit in index.search(query, 9, where)[0]}

    assert found('brand=x', 'weight>2') == {'p2'}
    assert found('price<=2.5', 'shop=a,b') == {'p0', 'p1'}
    assert found('weight!=1') == {'p2'}, 'NaN is missing, as null is'
    assert found('nothing=1') == set()
    assert found(f'code={2**53 + 1}') == {'p0'}


def test_a_number_that_is_too_large_is_named(tmp_path):
    code = pa.array([Decimal(2**70)], pa.decimal128(38, 0))
    pq.write_table(pa.table(dict(product_id=['p0'], code=code)), tmp_path / 'own.parquet')
    with pytest.raises(ValueError, match="own.parquet: column 'code': "):
        read_columns([tmp_path / 'own.parquet'])
