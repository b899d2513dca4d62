"""Whole audits: planted faults in features and catalogue, fixes, files, command."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from eclip_mm.audit import KINDS, Issue, run_audit
from eclip_mm.audit.issues import fix_lines, sort_issues
from eclip_mm.cli import main
from eclip_mm.datasets import read_catalogue
from helpers.audits import NUM, plant
from helpers.feature_folders import write_vectors


@pytest.fixture(scope='module')
def planted(tmp_path_factory):
    return plant(tmp_path_factory.mktemp('audit'))


@pytest.fixture(scope='module')
def audit(planted):
    evaluation = planted.folder / 'evaluation.parquet'
    out = planted.folder / 'out'
    return run_audit(planted.features, planted.catalogue, out, evaluation)


def of(audit, kind):
    return [issue for issue in audit.issues if issue.kind == kind and issue.flagged]


def test_each_planted_fault_is_found_and_little_else(audit):
    titles = {i.product_id for i in of(audit, 'title')}
    assert {'p3', 'p4'} <= titles and len(titles) <= 3
    assert ('p10', 2) in {(i.product_id, i.picture) for i in of(audit, 'odd_picture')}
    [wrong] = of(audit, 'wrong_main')
    assert (wrong.product_id, wrong.picture, wrong.fix) == ('p12', 0, 'main')
    [pair] = of(audit, 'duplicate_product')
    assert (pair.product_id, pair.other_product_id, pair.fix) == ('p21', 'p20', 'merge')
    assert {i.product_id for i in of(audit, 'shared_picture')} == {'p30', 'p31', 'p32'}
    found = {k: [(i.product_id, i.picture) for i in of(audit, k)] for k in KINDS}
    assert found['near_duplicate'] == [('p33', 2)]
    assert found['broken'] == [('p34', 1)]
    assert found['tiny'] == [('p35', 0)]
    assert found['rotated'] == [('p36', 0)]
    assert found['markup'] == [('p37', None)]
    assert found['text_only'] == [('p38', 1)]
    assert found['in_training'] == [('e0', 0)]


def test_the_readers_take_the_fixes(planted, audit):
    out = planted.folder / 'out'
    fixed = read_catalogue(planted.catalogue, fixes=out / 'fixes.jsonl')
    assert not {'p3', 'p4'} & set(fixed.product_ids)
    assert fixed.fixes.product('p21') == 'p20'
    row = fixed.product_ids.index('p12')
    assert fixed.image_number(row, 0) == of(audit, 'wrong_main')[0].other_picture
    evaluated = read_catalogue(
        planted.folder / 'evaluation.parquet', fixes=out / 'evaluation_fixes.jsonl'
    )
    assert evaluated.num_images(0) == 1


def test_files(planted, audit):
    out = planted.folder / 'out'
    table = pq.read_table(out / 'issues.parquet')
    assert table.num_rows == len(audit.issues)
    kinds = table['kind'].to_pylist()
    assert [kind for kind in KINDS if kind in kinds] == list(dict.fromkeys(kinds))
    assert sorted(p.name for p in out.iterdir()) == [
        'evaluation_fixes.jsonl',
        'fixes.jsonl',
        'issues.parquet',
        'report.html',
    ]
    report = (out / 'report.html').read_text(encoding='utf-8')
    assert '&lt;b&gt;' in report and '<b>' not in report  # titles are escaped
    assert 'data:image/jpeg;base64,' in report
    assert 'http' not in report and 'src="/' not in report  # no request to anywhere


def test_no_product_loses_its_last_picture():
    issues = [
        Issue('shared_picture', 'a', 0, fix='exclude', evidence='x'),
        Issue('text_only', 'a', 1, fix='exclude', evidence='y'),
        Issue('tiny', 'b', 0, fix='exclude', evidence='z'),
        Issue('tiny', 'b', 0, fix='exclude', evidence='twice'),
        Issue('title', 'c', fix='exclude', evidence='w'),
        Issue('rotated', 'c', 0, evidence='v'),
    ]
    lines = fix_lines(sort_issues(issues), dict(a=2, b=2, c=1))
    assert [(line['product_id'], line.get('picture')) for line in lines] == [
        ('c', None),
        ('a', 1),
        ('b', 0),
    ]
    assert issues[0].fix is None and issues[0].evidence.endswith(
        'the product has no other picture'
    )


def test_the_command(planted, tmp_path, capsys):
    command = ['audit', str(planted.features), str(planted.catalogue), str(tmp_path / 'out')]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f'{NUM} products' in printed and 'duplicate_product' in printed
    assert json.loads((tmp_path / 'out/fixes.jsonl').read_text().splitlines()[0])['reason']


def test_of_a_model_that_knows_nothing_no_title_is_flagged(planted, tmp_path, capsys):
    rng = np.random.default_rng(0)
    found = [
        dict(product_id=f'p{k}', category='c', text=rng.normal(size=8), pictures=own)
        for k, own in enumerate(rng.normal(size=(NUM, 3, 8)))
    ]
    write_vectors(tmp_path / 'features', found)
    command = [str(tmp_path / 'features'), str(planted.catalogue), str(tmp_path / 'out')]
    assert main(['audit', *command]) == 0
    assert 'of the titles do not fit. That is more likely' in capsys.readouterr().out
    assert 'train the model on this catalogue' in (tmp_path / 'out/report.html').read_text()
    fixes = (tmp_path / 'out/fixes.jsonl').read_text()
    assert 'title: ' not in fixes and 'odd_picture: ' not in fixes
    kinds = pq.read_table(tmp_path / 'out/issues.parquet').to_pylist()
    assert any(i['kind'] == 'title' and not i['flagged'] for i in kinds)


def test_what_does_not_belong_together_is_an_error(planted, tmp_path, capsys):
    other = planted.folder / 'evaluation.parquet'
    assert main(['audit', str(planted.features), str(other), str(tmp_path / 'out')]) == 1
    assert 'products that the catalogue does not have' in capsys.readouterr().err
    assert not list((tmp_path / 'out').iterdir())
    command = ['audit', str(tmp_path), str(planted.catalogue), str(tmp_path / 'out')]
    assert main(command) == 1
    assert 'is no folder of tools/embed_catalog.py' in capsys.readouterr().err


def test_the_result_does_not_depend_on_the_order_of_products(planted, tmp_path):
    """The same faults in a catalogue and features that are turned round."""
    turned = plant(tmp_path, order=slice(None, None, -1))
    found = run_audit(turned.features, turned.catalogue, tmp_path / 'out')
    first = run_audit(planted.features, planted.catalogue, tmp_path / 'first')

    def kept(audit):
        return {
            (i.kind, i.product_id, i.picture, i.flagged)
            for i in audit.issues
            if i.kind not in ('duplicate_product', 'shared_picture')
        }

    assert kept(found) == kept(first)
    assert np.isclose(
        sorted(i.label_quality for i in found.issues),
        sorted(i.label_quality for i in first.issues),
    ).all()
