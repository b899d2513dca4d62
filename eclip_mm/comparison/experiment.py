"""Experiment files: runs, variants, seeds, tables and claims of a comparison."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from eclip_mm.comparison.claims import Claim
from eclip_mm.comparison.runs import Run, check_keys, choose, load_runs

KEYS = {
    'title': 'heading of the report',
    'runs': 'name -> config to train (path from this file), or dict(config, cfg_options)',
    'variants': 'name -> dict(of=run, cfg_options): another evaluation of its checkpoints',
    'seeds': 'one training of each run per seed',
    'evaluation': 'config without a model, whose test set and metrics replace those of all runs',
    'cfg_options': 'dotted key -> value, for all runs',
    'tables': 'dict(title, columns, rows) each',
    'claims': 'claims to check',
    'bars': 'dict(figures, runs) of the picture; default: all of the tables',
    'notes': 'Markdown file that the report includes',
}


@dataclass(frozen=True)
class Row:
    """A row of a table, where ``paper`` has a percentage or None for each column."""

    run: str | None
    label: str
    paper: tuple


@dataclass(frozen=True)
class Table:
    """A table, where ``columns`` are pairs (figure, label)."""

    title: str
    columns: list[tuple[str, str]]
    rows: list[Row]


@dataclass(frozen=True)
class Experiment:
    """The checked content of an experiment file.

    Attributes:
        path: path of the file.
        runs: name -> run; a variant comes after its run.
        bars: (figures, runs) of the picture.
    """

    path: Path
    title: str
    runs: dict[str, Run]
    seeds: list[int]
    tables: list[Table] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    bars: tuple[list[str], list[str]] = ((), ())
    notes: Path | None = None

    @property
    def figures(self) -> list[str]:
        """Keys of the figures in tables, claims and bars."""
        keys = [key for table in self.tables for key, _ in table.columns]
        keys += [claim.figure for claim in self.claims] + list(self.bars[0])
        return list(dict.fromkeys(keys))

    def labels(self) -> dict[str, str]:
        """Return name -> label in the first table that has the run; labels are unique."""
        labels = {name: name for name in self.runs}
        for table in reversed(self.tables):
            labels.update({row.run: row.label for row in table.rows if row.run})
        times = Counter(labels.values())
        return {
            name: label if times[label] == 1 else f'{label} ({name})'
            for name, label in labels.items()
        }


def load_experiment(path: str | Path, seeds=None) -> Experiment:
    """Read an experiment file and check every name in it.

    Args:
        path: mmengine-style config with the keys of :data:`KEYS`. Names that
            begin with ``_`` are for the file's own use.
        seeds: seeds that replace those of the file.

    Raises:
        KeyError: a key, run or config option does not exist.
        ValueError: runs differ in steps or data, or a value is malformed.
        FileNotFoundError: a config or the notes are missing.
    """
    path = Path(path)
    content = {
        key: value
        for key, value in Config.fromfile(path).to_dict().items()
        if not key.startswith('_')
    }
    for key in content:
        choose(key, KEYS, f'{path}')
    if not content.get('runs'):
        raise ValueError(f'{path}: runs is empty; name at least one config')
    seeds = list(content.get('seeds', [0, 1, 2]) if seeds is None else seeds)
    if not seeds or len(set(seeds)) < len(seeds) or any(type(seed) is not int for seed in seeds):
        raise ValueError(f'{path}: seeds are different whole numbers, got {seeds}')
    runs = load_runs(path, content)
    tables = [_read_table(table, runs, path) for table in content.get('tables', [])]
    claims = [Claim.parse(claim) for claim in content.get('claims', [])]
    for claim in claims:
        for name in (claim.ours, claim.theirs):
            choose(name, runs, f'{path}: claim {claim.text!r}')
    notes = content.get('notes') and path.parent / content['notes']
    if notes and not notes.is_file():
        raise FileNotFoundError(f'{path}: notes: {notes} does not exist')
    return Experiment(
        path,
        content.get('title', path.stem),
        runs,
        seeds,
        tables,
        claims,
        _read_bars(content.get('bars', {}), tables, runs, path),
        notes,
    )


def _read_table(table: dict, runs: dict, path: Path) -> Table:
    where = f'{path}: table {table.get("title", "without title")!r}'
    check_keys(table, {'title', 'columns', 'rows'}, {'title', 'columns', 'rows'}, where)
    columns, rows = [(key, label) for key, label in table['columns'].items()], []
    for row in table['rows']:
        check_keys(row, {'run', 'label', 'paper'}, set(), f'{where}, row {row}')
        name = row.get('run')
        if name is not None:
            choose(name, runs, where)
        paper = tuple(row.get('paper') or [None] * len(columns))
        if len(paper) != len(columns):
            raise ValueError(
                f'{where}, row {name!r}: paper has {len(paper)} figures for {len(columns)} '
                'columns; give None for a column that the paper does not have'
            )
        rows.append(Row(name, row.get('label', name), paper))
    return Table(table['title'], columns, rows)


def _read_bars(bars: dict, tables: list[Table], runs: dict, path: Path):
    check_keys(bars, {'figures', 'runs'}, set(), f'{path}: bars')
    figures = dict.fromkeys(key for table in tables for key, _ in table.columns)
    names = list(bars.get('runs', runs))
    for name in names:
        choose(name, runs, f'{path}: bars')
    return list(bars.get('figures', figures)), names
