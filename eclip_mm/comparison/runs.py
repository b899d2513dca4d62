"""The runs of an experiment: comparable configs with all options merged in."""

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmengine.config import Config

from eclip_mm.config.from_checkpoint import complete_evaluation_config
from eclip_mm.config.loading import load_config
from eclip_mm.utils.matches import close_match

NAME = r'[\w.-]+'  # pattern of a run's name
UNTRAINED = 'untrained'  # folder of the figures of untrained weights
EVALUATION_HOOK = 'evaluation_hook_'
# comparable runs have the same values of these keys
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
        name: name of the run and of its folder.
        path: the config file.
        cfg: the config with all options merged in.
        of: for a variant, the run whose checkpoints it evaluates.
    """

    name: str
    path: Path
    cfg: Config
    of: str | None = None


def choose(name: str, known, what: str) -> None:
    """Check that a name is known.

    Raises:
        KeyError: the name is unknown; the message lists the choices.
    """
    if name not in known:
        meant = close_match(str(name), known)
        raise KeyError(
            f'{what}: there is no {name!r}'
            + (f'; did you mean {meant!r}?' if meant else f'; choose from {sorted(known)}')
        )


def load_runs(path: Path, content: dict) -> dict[str, Run]:
    """Load runs, then variants, each with the common and its own options.

    Args:
        path: path of the experiment file.
        content: content of the experiment file.

    Raises:
        FileNotFoundError, KeyError, ValueError: as in ``load_experiment``.
    """
    common, runs, own = content.get('cfg_options', {}), {}, {}
    evaluation = content.get('evaluation') and path.parent / content['evaluation']
    if evaluation and not evaluation.is_file():
        raise FileNotFoundError(f'{path}: evaluation: {evaluation} does not exist')
    complete = partial(replace_evaluation, evaluation=evaluation) if evaluation else None
    for name, run in content['runs'].items():
        where = f'{path}: run {name!r}'
        run = dict(config=run) if isinstance(run, str) else run
        check_keys(run, {'config', 'cfg_options'}, {'config'}, where)
        config, own[name] = path.parent / run['config'], run.get('cfg_options', {})
        if not config.is_file():
            raise FileNotFoundError(f'{where}: {config} does not exist')
        with _naming(where):
            cfg = load_config(str(config), {**common, **own[name]}, complete)
        runs[name] = Run(name, config, cfg)
    for name, variant in content.get('variants', {}).items():
        where = f'{path}: variant {name!r}'
        check_keys(variant, {'of', 'cfg_options'}, {'of', 'cfg_options'}, where)
        choose(variant['of'], own, where)
        if name in runs:
            raise ValueError(f'{where}: a run has the same name')
        options = {**common, **own[variant['of']], **variant['cfg_options']}
        config = runs[variant['of']].path
        with _naming(where):
            runs[name] = Run(
                name, config, load_config(str(config), options, complete), variant['of']
            )
    for name in runs:
        if not re.fullmatch(NAME, name) or name == UNTRAINED:
            raise ValueError(
                f'{path}: {name!r} cannot be the name of a run, since it names a folder and is '
                f'used in claims. Use letters, digits, ".", "-" and "_", and not {UNTRAINED!r}'
            )
    _check_shared(runs, path)
    return runs


def replace_evaluation(cfg: Config, evaluation: Path) -> None:
    """Give a run the test set and the metrics of a config under configs/evaluation.

    Model, pipeline and tokenizer stay those of the run. Hooks of the evaluation
    become default hooks, so that they do not count as a change of the training.

    Args:
        cfg: config of the run; changed in place.
        evaluation: config without a model.

    Raises:
        ValueError: the evaluation config has a model.
    """
    other = load_config(str(evaluation))
    if 'model' in other:
        raise ValueError(f'{evaluation} has a model; the evaluation of several runs must not')
    complete_evaluation_config(other, cfg.to_dict(), None, str(cfg.filename))
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg[key] = other[key]
    for number, hook in enumerate(other.get('custom_hooks') or ()):
        cfg.default_hooks[f'{EVALUATION_HOOK}{number}'] = hook


@contextmanager
def _naming(where: str):
    try:
        yield
    except Exception as error:
        error.args = (f'{where}: {error.args[0] if error.args else ""}', *error.args[1:])
        raise


def check_keys(given: dict, known: set, needed: set, where: str) -> None:
    """Check the keys of a dict in an experiment file.

    Raises:
        KeyError: one is unknown or missing.
    """
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
                    f'{value_of(first, key)} and {value_of(run, key)}. All runs of a comparison '
                    'have the same steps and data; set it in cfg_options'
                )
