"""Claims of an experiment and their verdicts."""

import re
from dataclasses import dataclass

from eclip_mm.comparison.runs import NAME
from eclip_mm.comparison.statistics import Estimate, paired_difference

FORMS = "'A > B on FIGURE' or 'A ~ B within POINTS on FIGURE' (percentage points)"
_FORM = re.compile(
    rf'(?P<ours>{NAME}) (?:>|~) (?P<theirs>{NAME})'
    r'(?: within (?P<margin>[\d.]+))? on (?P<figure>\S+)'
)
HOLDS, OPPOSITE, OPEN, MISSING = 'holds', 'does not hold', 'undecided', 'no figures'


@dataclass(frozen=True)
class Claim:
    """``ours > theirs``, or with a margin ``ours ~ theirs``, on one figure.

    Attributes:
        text: as the experiment states it.
        ours, theirs: names of runs or variants.
        figure: key of the figure, in [0, 1].
        margin: largest difference that counts as none, in [0, 1]; None if the
            claim is that ``ours`` is higher.
        paper: what the paper reports, in words.
    """

    text: str
    ours: str
    theirs: str
    figure: str
    margin: float | None = None
    paper: str = ''

    @classmethod
    def parse(cls, claim: str | dict) -> 'Claim':
        """Read a claim as an experiment file states it.

        Args:
            claim: the statement, or ``dict(claim=..., paper=...)``.

        Raises:
            ValueError: the statement has neither of the two forms.
        """
        stated = dict(claim=claim) if isinstance(claim, str) else dict(claim)
        text, paper = str(stated.pop('claim', '')), stated.pop('paper', '')
        match = _FORM.fullmatch(text)
        if stated or not match or ('~' in text) != bool(match['margin']):
            raise ValueError(
                f'claim {claim!r} is neither {FORMS}, alone or as dict(claim=..., paper=...)'
            )
        margin = match['margin'] and float(match['margin']) / 100
        return cls(text, match['ours'], match['theirs'], match['figure'], margin, paper)


def judge(
    claim: Claim, ours: dict[int, float], theirs: dict[int, float]
) -> tuple[str, Estimate | None]:
    """Decide by the interval of the paired difference whether a claim holds.

    ``A > B`` holds if the whole interval of A - B lies above 0, and does not
    hold if it lies below. ``A ~ B within m`` holds if the whole interval lies
    in [-m, m], and does not hold if it lies outside. Otherwise the claim is
    undecided, and more seeds could decide it. A single seed decides nothing.

    Args:
        claim: the claim.
        ours, theirs: seed -> figure.

    Returns:
        The verdict and the difference; the difference is None if no seed has
        both.
    """
    difference = paired_difference(ours, theirs)
    if difference is None:
        return MISSING, None
    if difference.low is None:
        return OPEN, difference
    if claim.margin is None:
        holds, opposite = difference.low > 0, difference.high < 0
    else:
        holds = max(abs(difference.low), abs(difference.high)) <= claim.margin
        opposite = difference.low > claim.margin or difference.high < -claim.margin
    return HOLDS if holds else OPPOSITE if opposite else OPEN, difference
