"""Attributes of the catalogue as columns of an index."""

import numpy as np
import pytest

from eclip_mm.cli import main
from eclip_mm.index import VectorIndex
from helpers.feature_folders import DIMS, write_features

SHOP = [
    dict(brand='Acme', price=5.0, colours=['red', 'blue'], sale=True, code=1),
    dict(brand='Nord', price=25, colours='green', sale=False, code='x'),
    dict(brand='Acme', price=30.5, colours=[]),
    {},
]
NAMES = ('brand', 'price', 'colours', 'sale', 'code')
FILTERS = [
    ('brand=Acme', [0, 2]),
    ('price<=25', [0, 1]),
    (['price>5', 'brand=Acme'], [2]),
    ('sale=true', [0]),
    ('code=1', [0]),
    ('colours=red', [0]),
    ('colours!=red', [1]),
    ('colours=red,green', [0, 1]),
    ('colours!=black,green', [0]),
    ('colours<c', [0]),
    ('colours>=green', [0, 1]),
]


def shop_index(folder, **options):
    write_features(folder / 'features', ['p0', 'p1', 'p2', 'p3'], attributes=SHOP)
    return VectorIndex.build(folder / 'index', folder / 'features', attributes=NAMES, **options)


@pytest.fixture(scope='module')
def index(tmp_path_factory):
    return shop_index(tmp_path_factory.mktemp('shop'))


@pytest.mark.parametrize(('where', 'kept'), FILTERS)
def test_attributes_can_be_filtered_by(index, where, kept):
    hits = index.search(index.vectors_of('p0')[0], 9, where)[0]
    assert {hit['product_id'] for hit in hits} == {f'p{i}' for i in kept}


def test_hits_have_the_values(index):
    hits = index.search(index.vectors_of('p0')[0], 9)[0]
    found = {hit['product_id']: [hit[name] for name in NAMES] for hit in hits}
    assert found == dict(
        p0=['Acme', 5, ['red', 'blue'], True, '1'],
        p1=['Nord', 25, ['green'], False, 'x'],
        p2=['Acme', 30.5, None, None, None],
        p3=[None] * 5,
    )


def test_values_of_lists_are_their_elements(index):
    assert index.values_of('colours') == ['blue', 'green', 'red']
    assert index.values_of('brand') == ['Acme', 'Nord']


def test_added_features_keep_the_types(tmp_path):
    index = shop_index(tmp_path)
    more = [dict(colours='black', code=7), dict(price='on request')]
    write_features(tmp_path / 'more', ['p4'], seed=1, attributes=more)
    index.add(tmp_path / 'more')
    hits = index.search(index.vectors_of('p4')[0], 1, 'colours=black')[0]
    assert [hits[0][name] for name in NAMES] == [None, None, ['black'], None, '7']
    write_features(tmp_path / 'bad', ['p5'], seed=1, attributes=more[1:])
    with pytest.raises(ValueError, match="bad: attribute 'price' does not fit its column .*doub"):
        index.add(tmp_path / 'bad')


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('prize', "no product has the attribute 'prize'; there are brand, category, code"),
        ('category', "--attributes: column 'category' has a name that the rows of an index"),
    ],
)
def test_names_that_are_wrong(tmp_path, capsys, name, words):
    attributes = [{**SHOP[0], 'category': 'x'}]
    write_features(tmp_path / 'features', ['p0'], attributes=attributes, shards=1)
    paths = [str(tmp_path / folder) for folder in ('index', 'features')]
    assert main(['index', 'build', *paths, '--attributes', 'brand', name]) == 1
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1 and not (tmp_path / 'index').exists()


LARGE = 2**53 + 1


@pytest.mark.parametrize(
    ('codes', 'stored'),
    [
        ([LARGE, 3, 4.0, -LARGE], [LARGE, 3, 4, -LARGE]),
        ([2**53, 1.5, 3, 4], [2.0**53, 1.5, 3.0, 4.0]),
        ([LARGE, 'x', 3, 4], [str(LARGE), 'x', '3', '4']),
    ],
)
def test_whole_numbers_stay_exact(tmp_path, codes, stored):
    attributes = [dict(code=code) for code in codes]
    write_features(tmp_path / 'features', ['p0', 'p1', 'p2', 'p3'], attributes=attributes)
    index = VectorIndex.build(tmp_path / 'index', tmp_path / 'features', attributes=['code'])
    found = {hit['product_id']: hit['code'] for hit in index.search(np.ones(DIMS), 9)[0]}
    assert [found[f'p{i}'] for i in range(4)] == stored
    assert [type(found[f'p{i}']) for i in range(4)] == [type(value) for value in stored]
    (hit,) = index.search(np.ones(DIMS), 9, f'code={stored[0]}')[0]
    assert hit['product_id'] == 'p0'


@pytest.mark.parametrize('codes', [[LARGE, 1.5], [2**63], [2**80, 1.5]])
def test_whole_numbers_that_cannot_stay_exact_are_one_line(tmp_path, capsys, codes):
    attributes = [dict(code=code) for code in codes]
    write_features(tmp_path / 'features', ['p0', 'p1'], attributes=attributes)
    folders = [str(tmp_path / name) for name in ('index', 'features')]
    assert main(['index', 'build', *folders, '--attributes', 'code']) == 1
    error = capsys.readouterr().err
    assert "attribute 'code' does not fit" in error and 'leave it out' in error
    assert error.count('\n') == 1


def test_a_fraction_is_not_added_to_large_whole_numbers(tmp_path):
    write_features(tmp_path / 'features', ['p0'], attributes=[dict(code=LARGE)])
    index = VectorIndex.build(tmp_path / 'index', tmp_path / 'features', attributes=['code'])
    write_features(tmp_path / 'more', ['p1'], attributes=[dict(code=1.5)])
    with pytest.raises(ValueError, match='1.5 is no whole number; build the index again'):
        index.add(tmp_path / 'more')
