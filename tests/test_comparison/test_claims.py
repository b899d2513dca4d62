"""Claims: their two forms, and when they hold."""

import pytest

from eclip_mm.comparison.claims import HOLDS, MISSING, OPEN, OPPOSITE, Claim, judge


def test_both_forms_are_read():
    claim = Claim.parse(dict(claim='eclip > no-inter on photos/m5_mAP@1', paper='65.2 > 62.2'))
    assert (claim.ours, claim.theirs, claim.figure) == ('eclip', 'no-inter', 'photos/m5_mAP@1')
    assert claim.margin is None and claim.paper == '65.2 > 62.2'
    claim = Claim.parse('ema ~ gaussian within 2.5 on fine_R@1')
    assert (claim.ours, claim.theirs, claim.margin) == ('ema', 'gaussian', 0.025)


@pytest.mark.parametrize(
    'claim',
    [
        'a < b on x',
        'a > b',
        'a ~ b on x',
        'a > b within 2 on x',
        dict(claim='a > b on x', papre='y'),
        dict(paper='y'),
    ],
)
def test_other_forms_are_an_error_that_names_both_forms(claim):
    with pytest.raises(ValueError, match="'A > B on FIGURE' or 'A ~ B within"):
        Claim.parse(claim)


def seeds(*values):
    return dict(enumerate(values))


# t is 12.706 for two seeds: differences d +- e have the interval d +- 12.706 e
@pytest.mark.parametrize(
    'ours, verdict',
    [
        (seeds(0.601, 0.599), HOLDS),  # 0.1 +- 0.0127
        (seeds(0.401, 0.399), OPPOSITE),
        (seeds(0.61, 0.59), OPEN),  # 0.1 +- 0.127
        (seeds(0.9), OPEN),  # one seed decides nothing
        ({7: 0.9}, MISSING),
    ],
)
def test_greater_needs_an_interval_above_zero(ours, verdict):
    claim = Claim.parse('a > b on x')
    assert judge(claim, ours, seeds(0.5, 0.5))[0] == verdict


@pytest.mark.parametrize(
    'ours, verdict',
    [
        (seeds(0.501, 0.499), HOLDS),  # 0 +- 0.0127
        (seeds(0.511, 0.509), OPEN),  # 0.01 +- 0.0127 reaches over 0.02
        (seeds(0.551, 0.549), OPPOSITE),  # 0.05 +- 0.0127
        (seeds(0.451, 0.449), OPPOSITE),
        (seeds(0.52, 0.48), OPEN),  # too wide to say
    ],
)
def test_little_difference_needs_an_interval_within_the_margin(ours, verdict):
    claim = Claim.parse('a ~ b within 2 on x')
    verdict_here, difference = judge(claim, ours, seeds(0.5, 0.5))
    assert verdict_here == verdict
    assert difference.mean == pytest.approx((ours[0] + ours[1]) / 2 - 0.5)
