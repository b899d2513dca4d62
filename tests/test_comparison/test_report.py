"""Tables, claims and the summary, worked out by hand."""

import json

import pytest

from eclip_mm.comparison.experiment import load_experiment
from eclip_mm.comparison.frozen import freeze, write_record
from eclip_mm.comparison.plan import seed_folder
from eclip_mm.comparison.report import write_report, write_tables
from eclip_mm.comparison.results import Results
from helpers.experiment import GOOD, write_experiment

FINE, BOX = 'photos/fine_R@1', 'photos/right_box'
TABLE = """\
|        |         fine | paper |                  box |
| ------ | -----------: | ----: | -------------------: |
| ours   | 20.0 ± 127.1 |  44.3 |          60.0 ± 25.4 |
| CLIP   |   15.0 ± 0.0 |  34.8 | 30.0 (1 of 2 seeds) |
| noise  |       failed |     - |               failed |
| DeCLIP |            - |  35.3 |                    - |
| chance |  1.0 to 3.0 |       |                 33.3 |"""


@pytest.fixture
def experiment(tmp_path):
    rows = [
        dict(run='eclip', label='ours', paper=[44.3, None]),
        dict(run='clip', label='CLIP', paper=[34.8, None]),
        dict(run='noise'),
        dict(label='DeCLIP', paper=[35.3, None]),
    ]
    table = dict(title='Table 2', columns={FINE: 'fine', BOX: 'box'}, rows=rows)
    claims = [
        dict(claim=f'eclip > clip on {FINE}', paper='44.3 > 34.8'),
        f'eclip > clip on {BOX}',
        f'eclip ~ noise within 1 on {BOX}',
    ]
    (tmp_path / 'notes.md').write_text('## Why\n\nBecause.\n')
    path = write_experiment(
        tmp_path, tables=[table], claims=claims, title='Ours', notes='notes.md'
    )
    return load_experiment(path)


@pytest.fixture
def results(experiment, tmp_path):
    # t is 12.706 for two seeds; s / sqrt(2) of two values is half their distance
    measured = {
        ('eclip', 3): {FINE: 0.1, BOX: 0.58, f'{FINE}_chance': 0.01, f'{BOX}_chance': 1 / 3},
        ('eclip', 4): {FINE: 0.3, BOX: 0.62, f'{FINE}_chance': 0.01, f'{BOX}_chance': 1 / 3},
        ('clip', 3): {FINE: 0.15, BOX: 0.3, f'{FINE}_chance': 0.03, f'{BOX}_chance': 1 / 3},
        ('clip', 4): {FINE: 0.15, f'{FINE}_chance': 0.03},
    }
    for (name, seed), figures in measured.items():
        folder = seed_folder(tmp_path, name, seed)
        write_record(freeze(experiment.runs[name], seed), folder)
        (folder / 'metrics.json').write_text(json.dumps(dict(figures=figures)))
    failed = [seed_folder(tmp_path, 'noise', seed) for seed in (3, 4)]
    return Results.collect(experiment, tmp_path, failed)


def squeezed(text):
    lines = [' '.join(line.split()) for line in text.splitlines()]
    return '\n'.join(line for line in lines if not line.startswith('| -'))


def test_the_table_by_hand(results):
    text = write_tables(results)
    assert '## Table 2\n' in text and 'mean over 2 seeds' in text
    assert squeezed(TABLE) in squeezed(text)


def test_jobs_that_have_not_run_are_missing_and_not_failed(experiment, tmp_path):
    text = write_tables(Results.collect(experiment, tmp_path))
    assert text.count('missing') == 6 and 'failed' not in text


def test_figures_of_another_evaluation_are_missing(results, tmp_path):
    other = 'test_evaluator.0.topk'
    (tmp_path / 'later').mkdir()
    options = {**GOOD['cfg_options'], other: [1]}
    later = load_experiment(write_experiment(tmp_path / 'later', cfg_options=options))
    assert results.figures['eclip'][3][FINE] == 0.1
    assert not any(Results.collect(later, tmp_path).figures.values())


def test_claims_by_hand(results):
    lines = [line for line in write_tables(results).splitlines() if line.startswith('| `')]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    # fine: differences -5 and 15, 5 +- 12.706 * 10; box: one common seed
    assert cells[0][1:] == ['44.3 > 34.8', '+5.0 [-122.1, +132.1]', 'undecided']
    assert cells[1][1:] == ['', '+28.0', 'undecided']
    assert cells[2][1:] == ['', '-', 'no figures']


def test_the_summary_has_everything_as_json(results):
    summary = json.loads(json.dumps(results.summary()))
    assert summary['seeds'] == [3, 4] and summary['runs']['noise']['failed'] == [3, 4]
    assert summary['runs']['eclip']['seeds']['4'][FINE] == 0.3
    box = summary['runs']['eclip']['statistics'][BOX]
    assert box['mean'] == pytest.approx(0.6) and box['n'] == 2
    assert box['high'] == pytest.approx(0.6 + 12.7062 * 0.02, abs=1e-5)
    assert summary['runs']['clip']['statistics'][BOX]['low'] is None
    assert summary['tables'][0]['rows'][0] == dict(run='eclip', label='ours', paper=[44.3, None])
    assert [claim['verdict'] for claim in summary['claims']] == ['undecided'] * 2 + ['no figures']


def test_the_report_holds_command_tables_and_notes(results):
    text = write_report([results], 'python tools/compare.py x.py')
    assert text.startswith('# Ours\n') and text.endswith('## Why\n\nBecause.\n')
    assert '```bash\npython tools/compare.py x.py\n```' in text and 'notes.md`' in text
    assert write_tables(results) in text


def test_several_experiments_make_one_page(results):
    text = write_report([results, results], 'python tools/compare.py x.py y.py')
    assert text.count('# Ours\n') == 2 and text.count(write_tables(results)) == 2
    assert text.count('python tools/compare.py') == 1 and text.count('Because.') == 2
