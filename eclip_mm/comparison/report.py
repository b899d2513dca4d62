"""Results as Markdown."""

from collections.abc import Sequence

from eclip_mm.comparison.experiment import Experiment, Table
from eclip_mm.comparison.results import Results
from eclip_mm.comparison.statistics import Estimate
from eclip_mm.utils.text_table import format_table

EXPLANATION = """\
Figures are percentages: the mean over {count} ± half of its 95% interval,
`mean ± t s / sqrt(n)` with s the standard deviation over the n seeds (n - 1 in the denominator)
and t Student's quantile at 97.5% with n - 1 degrees of freedom. Seeds differ in the initial
weights, the order of the data, the augmentations and the prompts; products and photos are the same
for all. The interval covers other seeds, not other test sets. Chance is the score of guessing.
Columns named *paper* give the paper's figures on its own data: only their order can be compared
with ours.
"""
CLAIMS = """\
A > B holds where the 95% interval of the difference A - B, paired by seed, lies above 0; A ~ B
within m holds where it lies in [-m, m]. *Undecided* means that the interval crosses a bound.
Points are percentage points. The intervals are not corrected for the number of claims.
"""


def write_tables(results: Results, level: int = 2) -> str:
    """Every table and the claims, as Markdown with headings of a level."""
    experiment, hashes = results.experiment, '#' * level
    parts = [EXPLANATION.format(count=_count(experiment))]
    for table in experiment.tables:
        parts += [f'{hashes} {table.title}\n', _table(results, table)]
    if experiment.claims:
        parts += [f'{hashes} What the paper claims\n', CLAIMS, _claims(results)]
    return '\n'.join(parts)


def write_report(results: Sequence[Results], command: str) -> str:
    """A whole page: the command, and of each experiment tables, claims and notes.

    Args:
        results: the figures of each experiment; the page has the title of the first.
        command: the command that wrote the page.
    """
    experiments = [one.experiment for one in results]
    sources = [path for e in experiments for path in (e.path, e.notes) if path]
    parts = [
        f'# {experiments[0].title}\n',
        f'The command below writes this page; edit {" or ".join(f"`{p}`" for p in sources)} '
        'instead.\n',
        f'```bash\n{command}\n```\n',
    ]
    for number, (one, experiment) in enumerate(zip(results, experiments, strict=True)):
        if number:
            parts.append(f'# {experiment.title}\n')
        parts.append(write_tables(one))
        if experiment.notes:
            parts.append(experiment.notes.read_text(encoding='utf-8').rstrip() + '\n')
    return '\n'.join(parts)


def _count(experiment: Experiment) -> str:
    seeds = experiment.seeds
    return f'{len(seeds)} seeds' if len(seeds) > 1 else 'one seed'


def _table(results: Results, table: Table) -> str:
    has_paper = [
        any(row.paper[i] is not None for row in table.rows) for i in range(len(table.columns))
    ]
    header = ['']
    for (_, label), paper in zip(table.columns, has_paper, strict=True):
        header += [label, 'paper'] if paper else [label]
    rows = []
    for row in table.rows:
        cells = [row.label]
        for i, (key, _) in enumerate(table.columns):
            cells.append(_figure(results, row.run, key) if row.run else '-')
            if has_paper[i]:
                cells.append('-' if row.paper[i] is None else f'{row.paper[i]:.1f}')
        rows.append(cells)
    names, cells = [row.run for row in table.rows if row.run], ['chance']
    for i, (key, _) in enumerate(table.columns):
        cells.append(_chance(results.chances(key, names)))
        cells += [''] * has_paper[i]
    return format_table(header, [*rows, cells], markdown=True) + '\n'


def _figure(results: Results, name: str, key: str) -> str:
    estimate = results.estimate(name, key)
    if estimate is None:
        return 'failed' if results.failed[name] else 'missing'
    text = show_estimate(estimate)
    seeds = len(results.experiment.seeds)
    if estimate.n < seeds:
        text += f' ({estimate.n} of {seeds} seeds)'
    return text


def show_estimate(estimate: Estimate) -> str:
    """``44.3 ± 1.2`` in percent; without the interval for a single value."""
    half = estimate.half_width
    return f'{100 * estimate.mean:.1f}' + ('' if half is None else f' ± {100 * half:.1f}')


def _chance(chances: tuple[float, float] | None) -> str:
    if chances is None:
        return '-'
    low, high = (f'{100 * chance:.1f}' for chance in chances)
    return low if low == high else f'{low} to {high}'


def _claims(results: Results) -> str:
    rows = []
    for verdict in results.verdicts():
        difference = verdict['difference']
        if difference is None:
            shown = '-'
        elif difference['low'] is None:
            shown = f'{100 * difference["mean"]:+.1f}'
        else:
            shown = '{:+.1f} [{:+.1f}, {:+.1f}]'.format(
                *(100 * difference[end] for end in ('mean', 'low', 'high'))
            )
        rows.append([f'`{verdict["claim"]}`', verdict['paper'], shown, verdict['verdict']])
    header = ['claim', 'paper', 'difference in points', 'here']
    return format_table(header, rows, markdown=True) + '\n'
