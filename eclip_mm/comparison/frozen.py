"""Records of the config of each run, to detect later changes."""

import copy
from pathlib import Path

from mmengine.config import Config, ConfigDict

from eclip_mm.comparison.runs import EVALUATION_HOOK, Run
from eclip_mm.config.loading import RUNNER_KEYS, CachedTextConfig
from eclip_mm.utils.files import write_whole_text

RECORD = 'frozen_config.py'
# parts of a config that do not affect the weights
_NOT_TRAINING = (
    'test_',
    'val_',
    'work_dir',
    'resume',
    'launcher',
    'log_',
    'visualizer',
    'vis_backends',
    'default_hooks.logger',
    f'default_hooks.{EVALUATION_HOOK}',
)
# hooks that only show or measure
_WATCHING = ('ClassPromptHook', 'PictureHook', 'ProgressBarHook')
_EVALUATION = ('test_', f'default_hooks.{EVALUATION_HOOK}')
_NOTHING = '(missing)'


def freeze(run: Run, seed: int) -> Config:
    """Make the config of one training: one seed, no validation, only the last checkpoint.

    ``randomness.seed`` is also the seed of sampler, augmentations and prompts
    (``StepSeedHook``). The catalogue has a seed of its own and stays the same.
    """
    cfg = copy.deepcopy(run.cfg)
    cfg = CachedTextConfig(cfg._cfg_dict, cfg.text, str(run.path))
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    checkpoint = cfg.default_hooks.checkpoint
    checkpoint.update(max_keep_ckpts=1, save_last=True, save_best=None)
    checkpoint.pop('rule', None)
    if 'max_epochs' in cfg.train_cfg:
        checkpoint.update(by_epoch=True, interval=1)
    return cfg


def write_record(cfg: Config, folder: Path) -> None:
    """Write a config into a folder atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole_text(folder / RECORD, cfg.pretty_text)


def read_record(folder: Path) -> Config:
    """Read a folder's config and run its ``custom_imports``."""
    return Config.fromfile(folder / RECORD)


def changed_keys(folder: Path, cfg: Config) -> tuple[list[str], bool]:
    """Compare a config with the one recorded in a folder.

    Returns:
        A line ``key: old -> new`` for each difference that affects the
        weights, and whether there is a difference in the evaluation.
    """
    kept = Config.fromfile(folder / RECORD, import_custom_modules=False)
    old, new = _flatten(kept._cfg_dict), _flatten(cfg._cfg_dict)
    lines, evaluation = [], False
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key, _NOTHING), new.get(key, _NOTHING)
        if before == after:
            continue
        if not key.startswith(_NOT_TRAINING):
            lines.append(f'{key}: {before!r} -> {after!r}')
        evaluation |= key.startswith(_EVALUATION)
    return lines, evaluation


def _flatten(node, prefix: str = '') -> dict:
    """Return dotted key -> value of all that a Runner reads."""
    if isinstance(node, dict | ConfigDict):
        items = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    else:
        return {prefix[:-1]: node}
    flat = {}
    if prefix == 'custom_hooks.':
        items = enumerate(hook for hook in node if hook.get('type') not in _WATCHING)
    for key, value in items:
        if prefix or key in RUNNER_KEYS or key == 'synthetic':
            flat.update(_flatten(value, f'{prefix}{key}.'))
    return flat
