"""The exact index against brute force over the features it was built from."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eclip_mm.index import FeatureFolder, VectorIndex, encoded_queries, write_bulk
from eclip_mm.index import vector_index as module
from eclip_mm.utils.conditions import parse_condition
from helpers.feature_folders import DIMS, write_features

PRODUCTS = [f'p{i}' for i in range(60)]


@pytest.fixture
def features(tmp_path):
    return write_features(tmp_path / 'features', PRODUCTS)


@pytest.fixture
def index(tmp_path, features):
    prices = pa.table(dict(product_id=PRODUCTS[:50], price=list(range(50)), tags=[['x']] * 50))
    pq.write_table(prices, tmp_path / 'prices.parquet')
    return VectorIndex.build(
        tmp_path / 'index', tmp_path / 'features', columns=[tmp_path / 'prices.parquet']
    )


def queries(n=7):
    return np.random.default_rng(5).normal(size=(n, DIMS))


def brute(vectors, rows, k, keep=lambda row: True, per='product'):
    """Hits as (product, picture) by sorting all rows."""
    result = []
    for query in queries():
        score = vectors.astype(float) @ query
        hits = []
        for i in np.argsort(-score, kind='stable'):
            row, product = rows[i], rows[i]['product_id']
            if keep(row) and not (per == 'product' and product in [p for p, _ in hits]):
                hits.append((product, row['picture']))
        result.append(hits[:k])
    return result


def test_values_of_a_column_are_those_of_rows_that_are_there(index):
    assert index.values_of('category') == ['boots', 'shoes']
    assert index.values_of('price') == list(range(50))
    index.remove([f'p{i}' for i in range(0, 60, 3)])  # all shoes
    assert index.values_of('category') == ['boots']
    with pytest.raises(ValueError, match="column 'size' is unknown; there are file, row, "):
        index.values_of('size')


def names(found):
    return [[(hit['product_id'], hit['picture']) for hit in hits] for hits in found]


CONDITIONS = [
    (None, lambda r: True),
    ('category=shoes', lambda r: r['category'] == 'shoes'),
    ('category!=shoes', lambda r: r['category'] not in ('shoes', None)),
    (
        ['source=comment', 'price<20'],
        lambda r: r['source'] == 'comment' and r['price'] in range(20),
    ),
    ([('category', 'in', ['boots', 'x'])], lambda r: r['category'] == 'boots'),
    ('price=3,7', lambda r: r['price'] in (3, 7)),
    ('category=nothing', lambda r: False),
]


@pytest.mark.parametrize('per', ['product', 'row'])
@pytest.mark.parametrize('where, keep', CONDITIONS)
def test_hits_are_those_of_brute_force(index, features, where, keep, per):
    rows = [row for block, _ in index.blocks() for row in block.to_pylist()]
    assert len(rows) == len(features) == len(index)
    found = index.search(queries(), 8, where, per)
    assert names(found) == brute(features, rows, 8, keep, per)
    json.dumps(found)
    assert rows[0]['price'] == 0 and rows[-1]['price'] is None and 'tags' not in rows[0]


def test_many_pictures_of_one_product_leave_room_for_others(index):
    one = index.vectors_of('p5')[0]
    for k in (1, 59, 60, 100):
        hits = index.search(one, k)[0]
        assert len({hit['product_id'] for hit in hits}) == len(hits) == min(k, 60)
    assert hits[0]['product_id'] == 'p5' and hits[0]['score'] == pytest.approx(1)


def test_add_replaces_and_remove_removes(tmp_path, features):
    index = VectorIndex.build(tmp_path / 'index', tmp_path / 'features')
    old = VectorIndex(tmp_path / 'index')
    new = write_features(tmp_path / 'more', ['p0', 'new'], seed=1)
    assert index.add(tmp_path / 'more') == 3
    assert len(index) == len(features) - 1 + 3
    assert index.remove(['p1', 'unknown']) == 2 and index.remove(['p1']) == 0
    rows = [row for block, _ in index.blocks() for row in block.to_pylist()]
    kept = np.concatenate([features[3:], new])
    assert names(index.search(queries(), 9)) == brute(kept, rows, 9)
    assert names(VectorIndex(tmp_path / 'index').search(queries(), 9)) == brute(kept, rows, 9)
    assert old.search(features[1], 1)[0][0]['product_id'] == 'p1', 'stays as it was opened'


def test_float16_measures_its_recall(tmp_path, features):
    index = VectorIndex.build(tmp_path / 'index', tmp_path / 'features', dtype='float16')
    assert 0.95 < index.manifest['recall']['all'] <= 1
    hits = index.search(features[:5], 1, per='row')
    assert [hit[0]['score'] for hit in hits] == pytest.approx([1] * 5, abs=1e-3)


def test_recall_is_measured_and_can_be_low(index, tmp_path, monkeypatch):
    assert index.manifest['recall'] == dict(k=10, queries=len(index), all=1, filtered=1)
    nearest = module.nearest_rows
    monkeypatch.setattr(
        module, 'nearest_rows', lambda q, m, k, ids: nearest(q, m, k, np.arange(0, len(m), 2))
    )
    worse = VectorIndex.build(tmp_path / 'worse', tmp_path / 'features')
    assert 0.3 < worse.manifest['recall']['all'] < 0.7


@pytest.mark.parametrize('change', ['build', 'add'])
@pytest.mark.parametrize('moment', ['blocks', 'commit'])
def test_a_change_that_dies_leaves_the_old_index(tmp_path, features, monkeypatch, change, moment):
    index = VectorIndex.build(tmp_path / 'index', tmp_path / 'features')
    before = index.search(queries(), 5)
    write_features(tmp_path / 'more', ['a', 'b', 'c'], seed=3)

    class Killed(BaseException):
        pass

    def die(*args, **kwargs):
        raise Killed

    def half(self, done=None):
        yield next(blocks(self))
        raise Killed

    blocks = FeatureFolder.blocks
    with monkeypatch.context() as patch:
        if moment == 'blocks':
            patch.setattr(FeatureFolder, 'blocks', half)
        else:
            patch.setattr(module.IndexFiles, 'commit', die)
        with pytest.raises(Killed):
            if change == 'build':
                VectorIndex.build(tmp_path / 'index', tmp_path / 'more')
            else:
                index.add(tmp_path / 'more')
    again = VectorIndex(tmp_path / 'index')
    assert again.search(queries(), 5) == before
    again.add(tmp_path / 'more')
    assert len(again) == len(features) + 6
    assert again.search(again.vectors_of('c'), 1)[0][0]['product_id'] == 'c'
    left = {path.name for path in (tmp_path / 'index').iterdir()}
    manifest = again.manifest
    named = {manifest['vectors'], manifest['removed'], *manifest['rows']}
    assert left == named | {'index.json', '.lock'}


def test_another_models_queries_and_features_are_refused(index, tmp_path):
    with pytest.raises(ValueError, match='built with the weights aaaaaaaaaaaa.*of bbbb'):
        index.search(queries(), checkpoint_sha256='b' * 64)
    write_features(tmp_path / 'other', ['x'], weights='b' * 64)
    with pytest.raises(ValueError, match='cannot be mixed'):
        index.add(tmp_path / 'other')


def test_words_and_photos_come_from_an_encoder(index, features):
    class Encoder:
        checkpoint = dict(name='x', sha256='a' * 64)

        def encode(self, inputs):
            return [dict(vector=features[i]) if i >= 0 else dict(error='broken') for i in inputs]

    hits = index.search(**encoded_queries(Encoder(), [3, 4]), k=1)
    assert [h[0]['product_id'] for h in hits] == ['p2', 'p2']
    with pytest.raises(ValueError, match='query 2: broken'):
        encoded_queries(Encoder(), [3, -1])


@pytest.mark.parametrize(
    'where, words',
    [
        ('colour=red', "column 'colour' is unknown; there are file, row"),
        ('price<cheap', "column 'price' is int64, got 'cheap'"),
        ([('price', '~', 1)], "comparison '~' is unknown"),
        ([('category', '=', None)], 'got None'),
        ('shoes', 'write COLUMN=VALUE'),
        ([('category', 'in', 'shoes')], "'in' takes a list of values, got 'shoes'"),
    ],
)
def test_conditions_that_are_wrong(index, where, words):
    with pytest.raises(ValueError, match=words):
        index.search(queries(), 3, where)


def test_conditions_are_read():
    assert parse_condition('price <= 3') == ('price', '<=', '3')
    assert parse_condition('title!=a=b') == ('title', '!=', 'a=b')
    assert parse_condition('category=a, b') == ('category', 'in', ['a', 'b'])
    assert parse_condition('category!=a,b') == ('category', 'not in', ['a', 'b'])


def test_features_that_are_not_finished(tmp_path, features):
    (tmp_path / 'features/_summary.json').write_text('{"shards": 3}')
    with pytest.raises(FileNotFoundError, match='2 of 3 shards'):
        VectorIndex.build(tmp_path / 'index', tmp_path / 'features')
    with pytest.raises(FileNotFoundError, match='is missing: this is no folder'):
        VectorIndex.build(tmp_path / 'index', tmp_path)
    with pytest.raises(FileNotFoundError, match='build the index'):
        VectorIndex(tmp_path)


@pytest.mark.parametrize('feature, per', [('text', 'product'), ('instance', None)])
def test_features_by_name(tmp_path, features, feature, per):
    if per is None:
        with pytest.raises(ValueError, match="no feature 'instance'"):
            FeatureFolder(tmp_path / 'features', feature)
    else:
        index = VectorIndex.build(tmp_path / 'index', tmp_path / 'features', feature)
        assert index.manifest['per'] == per and len(index) == 60


def test_bulk_lines_of_opensearch(index, tmp_path, features):
    index.remove(['p59'])
    assert write_bulk(index, tmp_path / 'bulk.ndjson', 'shop') == len(index)
    lines = [json.loads(line) for line in (tmp_path / 'bulk.ndjson').read_text().splitlines()]
    assert [line['index']['_id'] for line in lines[::2]][:3] == ['p0/0', 'p1/0', 'p1/1']
    np.testing.assert_array_equal(
        np.array([line['vector'] for line in lines[1::2]], np.float32), features[: len(index)]
    )
    mapping = json.loads((tmp_path / 'bulk.mapping.json').read_text())
    assert mapping['mappings']['properties']['vector']['dimension'] == DIMS
