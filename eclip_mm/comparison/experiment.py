"""What is compared: runs, variants, seeds, tables and claims of an experiment file."""

from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from eclip_mm.utils.config import close_match, load_config

from .claims import Claim

KEYS = {
    'title': 'heading of the report',
    'runs': 'name -> config to train (path from this file), or dict(config, cfg_options)',
    'variants': 'name -> dict(of=run, cfg_options): its checkpoints evaluated otherwise',
    'seeds': 'one training of each run per seed',
    'cfg_options': 'dotted key -> value, for all runs',
    'tables': 'dict(title, columns, rows) each',
    'claims': 'statements to check',
    'bars': 'dict(figures, runs) of the picture; default: all that the tables hold',
    'notes': 'Markdown file that the report includes',
}
# what makes runs comparable; a run that differs here is no ablation
SHARED = (
    'synthetic',
    'train_cfg',
    'train_dataloader.batch_size',
    'train_dataloader.sampler',
    'train_dataloader.dataset.catalogue',
    'test_dataloader.dataset.datasets',
    'test_dataloader.dataset.catalogue',
)


@dataclass(frozen=True)
class Run:
    """One row of a comparison.

    Attributes:
        name: also the folder's name.
        path: the config file it comes from.
        cfg: the config with all options merged in.
        of: for a variant, the run whose checkpoints it evaluates.
    """

    name: str
    path: Path
    cfg: Config
    of: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table; ``paper`` has a percentage or None for each column."""

    run: str | None
    label: str
    paper: tuple


@dataclass(frozen=True)
class Table:
    """A table; ``columns`` are (figure, label)."""

    title: str
    columns: list[tuple[str, str]]
    rows: list[Row]


@dataclass(frozen=True)
class Experiment:
    """An experiment file, checked.

    Attributes:
        path: of the file.
        runs: name -> run, variants after what they are variants of.
        figures: keys that tables, claims and bars ask for.
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
        keys = [key for table in self.tables for key, _ in table.columns]
        keys += [claim.figure for claim in self.claims] + list(self.bars[0])
        return list(dict.fromkeys(keys))

    def labels(self) -> dict[str, str]:
        """Name -> what the first table that has it calls it."""
        labels = {name: name for name in self.runs}
        for table in reversed(self.tables):
            labels.update({row.run: row.label for row in table.rows if row.run})
        return labels


def choose(name: str, known, what: str) -> None:
    """Check a name.

    Raises:
        KeyError: It is unknown; the message has what it may be.
    """
    if name not in known:
        meant = close_match(str(name), known)
        raise KeyError(
            f'{what}: there is no {name!r}'
            + (f'; did you mean {meant!r}?' if meant else f'; choose from {sorted(known)}')
        )


def load_experiment(path: str | Path, seeds=None) -> Experiment:
    """Read an experiment file and check every name in it.

    Args:
        path: mmengine-style config, keys of :data:`KEYS`. Names that begin
            with ``_`` are the file's own.
        seeds: instead of the file's.

    Raises:
        KeyError: a name that does not exist: key, run, config option.
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
    runs = _load_runs(path, content)
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


def _load_runs(path: Path, content: dict) -> dict[str, Run]:
    common, runs, variants = content.get('cfg_options', {}), {}, content.get('variants', {})
    for name, run in content['runs'].items():
        run = dict(config=run) if isinstance(run, str) else run
        _check_keys(run, {'config', 'cfg_options'}, {'config'}, f'{path}: run {name!r}')
        config = path.parent / run['config']
        if not config.is_file():
            raise FileNotFoundError(f'{path}: run {name!r}: {config} does not exist')
        runs[name] = Run(name, config, _load(config, common, run, f'{path}: run {name!r}'))
    for name, variant in variants.items():
        where = f'{path}: variant {name!r}'
        _check_keys(variant, {'of', 'cfg_options'}, {'of', 'cfg_options'}, where)
        choose(variant['of'], content['runs'], where)
        if name in runs:
            raise ValueError(f'{where}: a run has the same name')
        run = content['runs'][variant['of']]
        options = {} if isinstance(run, str) else run.get('cfg_options', {})
        both = dict(cfg_options={**options, **variant['cfg_options']})
        config = runs[variant['of']].path
        runs[name] = Run(name, config, _load(config, common, both, where), variant['of'])
    _check_shared(runs, path)
    return runs


def _load(config: Path, common: dict, run: dict, where: str) -> Config:
    try:
        return load_config(str(config), {**common, **run.get('cfg_options', {})})
    except Exception as error:
        error.args = (f'{where}: {error.args[0] if error.args else ""}', *error.args[1:])
        raise


def _check_keys(given: dict, known: set, needed: set, where: str) -> None:
    for key in given:
        choose(key, known, where)
    if missing := sorted(needed - set(given)):
        raise KeyError(f'{where}: {missing} is missing')


def _check_shared(runs: dict[str, Run], path: Path) -> None:
    def value_of(run: Run, key: str):
        node = run.cfg
        for part in key.split('.'):
            node = node.get(part) if isinstance(node, dict | Config) else None
        if key.endswith('.datasets') and node:
            return [part.get('catalogue') for part in node]
        return node

    first = next(iter(runs.values()))
    for run in runs.values():
        for key in SHARED:
            if value_of(run, key) != value_of(first, key):
                raise ValueError(
                    f'{path}: runs {first.name!r} and {run.name!r} differ in {key}: '
                    f'{value_of(first, key)} and {value_of(run, key)}. A comparison has the same '
                    'steps and data for all; set it in cfg_options'
                )


def _read_table(table: dict, runs: dict, path: Path) -> Table:
    where = f'{path}: table {table.get("title", "without title")!r}'
    _check_keys(table, {'title', 'columns', 'rows'}, {'title', 'columns', 'rows'}, where)
    columns, rows = [(key, label) for key, label in table['columns'].items()], []
    for row in table['rows']:
        _check_keys(row, {'run', 'label', 'paper'}, set(), f'{where}, row {row}')
        name = row.get('run')
        if name is not None:
            choose(name, runs, where)
        paper = tuple(row.get('paper') or [None] * len(columns))
        if len(paper) != len(columns):
            raise ValueError(
                f'{where}, row {name!r}: paper has {len(paper)} figures for {len(columns)} '
                'columns; put None where the paper has none'
            )
        rows.append(Row(name, row.get('label', name), paper))
    return Table(table['title'], columns, rows)


def _read_bars(bars: dict, tables: list[Table], runs: dict, path: Path):
    _check_keys(bars, {'figures', 'runs'}, set(), f'{path}: bars')
    figures = dict.fromkeys(key for table in tables for key, _ in table.columns)
    names = list(bars.get('runs', runs))
    for name in names:
        choose(name, runs, f'{path}: bars')
    return list(bars.get('figures', figures)), names
