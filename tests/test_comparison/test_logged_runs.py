"""Comparison of finished trainings from logs written by hand."""

import json

import pytest
from PIL import Image

from eclip_mm.comparison.logged_runs import LoggedComparison

TOOL = 'analysis_tools/compare_detection.py'
KEY = 'detection/mAP@0.5'
#: t at 97.5% with two degrees of freedom
T2 = 4.302652730


def write_run(folder, value, seed=None, iterations=8, later=()):
    """A training with its last figure; the one before is half of it."""
    log = folder / '20260101_000000/vis_data'
    log.mkdir(parents=True)
    rows = [
        dict(loss=2.0, epoch=1, iter=4),
        {KEY: value / 2, 'step': 1},
        dict(loss=1.0, epoch=2, iter=iterations),
        {KEY: value, 'step': 2},
        *later,
    ]
    (log / 'scalars.json').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    if seed is not None:
        (log / 'config.py').write_text(f'randomness = dict(seed={seed})\n')
    return folder


@pytest.fixture
def runs(tmp_path):
    """ECLIP: 0.5, 0.6, 0.7 of seeds 0, 1, 2. CLIP: 0.3, 0.5, 0.4, its seeds in another order."""
    figures = dict(ECLIP={0: 0.5, 1: 0.6, 2: 0.7}, CLIP={2: 0.4, 0: 0.3, 1: 0.5})
    return {
        label: [write_run(tmp_path / f'{label}{k}', value, k) for k, value in own.items()]
        for label, own in figures.items()
    }


def test_means_and_differences_by_hand(runs):
    comparison = LoggedComparison(runs, [KEY])
    ours, theirs = (comparison.estimate(label, KEY) for label in runs)
    assert ours.mean == pytest.approx(0.6) and theirs.mean == pytest.approx(0.4)
    assert ours.high == pytest.approx(0.6 + T2 * 0.1 / 3**0.5)
    # paired by seed, not by position: -0.2, -0.1, -0.3 for seeds 0, 1, 2
    difference = comparison.difference('CLIP', KEY)
    assert difference.mean == pytest.approx(-0.2) and difference.n == 3
    assert difference.low == pytest.approx(-0.2 - T2 * 0.1 / 3**0.5)
    assert comparison.difference('ECLIP', KEY) is None
    assert comparison.warnings() == []
    first, second = comparison.table(markdown=True).splitlines()[2:]
    assert '0.600 [0.352, 0.848]' in first and '2/8' in first
    assert '-0.200 [-0.448, +0.048]' in second


def test_pairs_have_the_same_seed(tmp_path):
    runs = dict(
        a=[write_run(tmp_path / f'a{seed}', 0.5 + seed / 10, seed) for seed in (0, 1)],
        b=[write_run(tmp_path / f'b{seed}', 0.9, seed) for seed in (1, 2)],
    )
    comparison = LoggedComparison(runs, [KEY])
    assert comparison.difference('b', KEY)[:2] == (pytest.approx(0.3), None)
    assert 'seeds differ, so differences are over common seeds: a [0, 1]; b [1, 2]' in ''.join(
        comparison.warnings()
    )
    with pytest.raises(ValueError, match=r'b: runs of seeds \[2, 2\]'):
        LoggedComparison(dict(b=[runs['b'][1], runs['b'][1]]), [KEY])


def test_without_configs_runs_are_paired_in_their_order(tmp_path):
    runs = {
        label: [write_run(tmp_path / f'{label}{k}', value) for k, value in enumerate(values)]
        for label, values in dict(a=(0.1, 0.2), b=(0.2, 0.5)).items()
    }
    comparison = LoggedComparison(runs, [KEY])
    assert comparison.difference('b', KEY).mean == pytest.approx(0.2)
    assert ['no seed' in text for text in comparison.warnings()] == [True]


def test_warnings_name_what_cannot_be_compared(tmp_path):
    runs = dict(
        a=[write_run(tmp_path / 'a', 0.5, 0)],
        b=[write_run(tmp_path / 'b', 0.5, 0, iterations=6)],
        c=[write_run(tmp_path / 'c', 0.5, 0, later=[dict(loss=1.0, epoch=3, iter=12)])],
    )
    length, late = LoggedComparison(runs, [KEY]).warnings()
    assert 'differ in length' in length and 'a 2/8; b 2/6; c 3/12' in length
    assert 'c: last evaluated at iteration 8 of 12' in late
    with pytest.raises(KeyError, match=r"a: logged no \['nothing'\]"):
        LoggedComparison(runs, ['nothing'])


def test_the_program(program, runs, tmp_path):
    (ours, *others), theirs = runs.values()
    write_run(tmp_path / 'none', 0.1, 0, iterations=6)
    out = tmp_path / 'new'
    shown, _ = program(
        *(TOOL, f'ECLIP={ours}', *others, f'CLIP={theirs[0]}', *theirs[1:]),
        *(f'none={tmp_path / "none"}', '--keys', KEY, '--out', out / 'curves.png'),
        *('--markdown', out / 'table.md', '--json', out / 'all.json'),
    )
    table = (out / 'table.md').read_text()
    assert '0.600 [0.352, 0.848]' in shown and '| -0.200 [-0.448, +0.048] |' in table
    for text in (shown, table):
        assert 'WARNING: trainings differ in length' in text
    found = json.loads((out / 'all.json').read_text())['labels']
    assert found['CLIP']['difference'][KEY]['mean'] == pytest.approx(-0.2)
    assert [run['seed'] for run in found['CLIP']['runs']] == [2, 0, 1]
    with Image.open(out / 'curves.png') as image:
        assert min(image.size) > 200


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['somewhere'], 'begin with LABEL=DIR'),
        (['a=x', 'a=y'], "'a' is given twice"),
        (['a='], "'a' has no directory"),
    ],
)
def test_wrong_words_are_named(program, words, message):
    assert message in program(TOOL, *words, expected=2)[1]
