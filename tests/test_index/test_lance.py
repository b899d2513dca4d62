"""A copy of an index in LanceDB beside the exact one."""

import json

import numpy as np
import pytest

from eclip_mm.cli import main
from eclip_mm.index import VectorIndex, open_index
from eclip_mm.index import lance as module
from eclip_mm.index.lance import LanceIndex
from helpers.feature_folders import DIMS, write_features
from helpers.results import assert_hits_of_exact_index

pytest.importorskip('lancedb', reason="lancedb is missing (pip install -e '.[lancedb]')")
pytestmark = pytest.mark.slow  # it has threads of its own
CONDITIONS = [
    None,
    'category=shoes',
    ['source=comment', 'row<40'],
    'product_id=p7,p70',
    ['category!=shoes', 'price>=3.5'],
    'row>9999',
    'tags=red',
    'tags!=red',
    'tags=red,blue',
    'tags!=red,blue',
    ['tags<c', 'tags>=b'],
    'tags>=n',
]


@pytest.fixture(scope='module')
def indexes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('index')
    tags = [dict(tags=found) for found in (['red', 'new'], ['blue'], [])] + [{}]
    write_features(folder / 'features', [f'p{i}' for i in range(1500)], attributes=tags)
    lines = [json.dumps(dict(product_id=f'p{i}', price=i / 4)) for i in range(1200)]
    (folder / 'prices.jsonl').write_text('\n'.join(lines))
    exact = VectorIndex.build(
        folder / 'index',
        folder / 'features',
        columns=[folder / 'prices.jsonl'],
        attributes=['tags'],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'LEAST_GRAPH', 1000)
        return exact, LanceIndex.build(folder / 'lance', exact)


def queries(n=20):
    return np.random.default_rng(5).normal(size=(n, DIMS))


def test_recall_is_measured_and_the_graph_is_used(indexes):
    recall = indexes[1].manifest['recall']
    assert recall['all'] >= 0.99 and recall['filtered'] >= 0.99 and recall['queries'] == 200
    table = indexes[1]._table
    plan = table.search(queries()[0], vector_column_name='vector').explain_plan()
    assert 'ANN' in plan, plan


@pytest.mark.parametrize('per', ['product', 'row'])
@pytest.mark.parametrize('where', CONDITIONS)
def test_hits_are_those_of_the_exact_index(indexes, where, per):
    exact, table = (index.search(queries(), 10, where, per) for index in indexes)
    assert_hits_of_exact_index(table, exact, 1e-5)


def test_the_folder_is_opened_and_searched_as_an_index(indexes, capsys):
    folder = str(indexes[1].folder)
    assert len(open_index(folder)) == len(indexes[0])
    assert isinstance(open_index(indexes[0].folder), VectorIndex)
    assert main(['search', folder, '--like', 'p4', '-k', '2', '--where', 'price<50']) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert hits[0]['product_id'] == 'p4' and hits[0]['rank'] == 1
    assert main(['search', folder, '--like', "it's"]) == 1
    assert 'has no product_id' in capsys.readouterr().err


def test_a_build_that_dies_leaves_the_old_table(indexes, tmp_path, monkeypatch):
    exact, _ = indexes
    before = LanceIndex.build(tmp_path / 'copy', exact).search(queries(3), 3)

    def half(size=4096):
        yield next(VectorIndex.blocks(exact, 100))
        raise RuntimeError('killed')

    monkeypatch.setattr(exact, 'blocks', half)
    with pytest.raises(Exception, match='killed'):
        LanceIndex.build(tmp_path / 'copy', exact)
    assert LanceIndex(tmp_path / 'copy').search(queries(3), 3) == before
    monkeypatch.undo()
    assert main(['index', 'lance', str(exact.folder), str(tmp_path / 'copy')]) == 0
    assert LanceIndex(tmp_path / 'copy').search(queries(3), 3) == before
    assert len(list((tmp_path / 'copy').glob('rows_*'))) == 1


def test_refusals(indexes, tmp_path):
    with pytest.raises(ValueError, match='built with the weights aaaa.*of bbbb'):
        indexes[1].search(queries(), checkpoint_sha256='b' * 64)
    with pytest.raises(ValueError, match="column 'colour' is unknown"):
        indexes[1].search(queries(), 3, 'colour=red')
    with pytest.raises(FileNotFoundError, match='eclip-mm index lance'):
        LanceIndex(tmp_path)
    for index in indexes:
        for wrong, words in ((dict(k=0), 'k is at least 1'), (dict(per='picture'), 'per is')):
            with pytest.raises(ValueError, match=words):
                index.search(queries(), **wrong)
        with pytest.raises(ValueError, match='queries are 8 wide, and vectors of the index 16'):
            index.search(np.ones((1, 8)))


def test_an_exact_index_and_a_copy_are_not_mixed_in_a_folder(indexes, tmp_path):
    write_features(tmp_path / 'features', ['p0', 'p1'])
    exact = VectorIndex.build(tmp_path / 'exact', tmp_path / 'features')
    with pytest.raises(ValueError, match='exact has an exact index; give the copy a folder'):
        LanceIndex.build(exact.folder, exact)
    LanceIndex.build(tmp_path / 'copy', exact)
    VectorIndex.build(tmp_path / 'copy', tmp_path / 'features')
    with pytest.raises(ValueError, match='of which one may be old'):
        open_index(tmp_path / 'copy')
