"""Tables of figures, compared character by character."""

import pytest

from eclip_mm.visualization import metrics_table

RUNS = {
    'ECLIP': {
        'p/R@1': 0.8125,
        'p/R@1_chance': 0.25,
        'p/R@1_low': 0.75,
        'p/R@1_high': 0.875,
        'p/pointing': 0.5,
        'p/pointing_chance': 0.125,
        'p/num_photos': 32,
    },
    'CLIP': {
        'p/R@1': 0.5,
        'p/R@1_chance': 0.25,
        'p/pointing': 0.25,
        'p/pointing_chance': 0.5,
        'p/num_photos': 32,
    },
}


def test_runs_side_by_side_with_chance_and_interval():
    lines = metrics_table(RUNS, digits=2).split('\n')
    assert lines[0].split() == ['figure', 'ECLIP', 'CLIP', 'chance']
    assert lines[2].split() == ['p/R@1', '0.81', '[0.75,', '0.88]', '0.50', '0.25']
    assert lines[3].split() == ['p/pointing', '0.50', '0.25', 'differs']
    assert lines[4].split() == ['p/num_photos', '32', '32']
    assert len(lines) == 5


def test_chosen_keys():
    lines = metrics_table({'a': RUNS['CLIP'], 'b': {}}, keys=['p/pointing']).split('\n')
    assert [line.split() for line in lines[2:]] == [['p/pointing', '0.250', '-', '0.500']]
    with pytest.raises(KeyError, match="'p/mAP'"):
        metrics_table(RUNS, keys=['p/mAP'])
