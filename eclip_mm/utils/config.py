"""Loading a config so that a misspelt key is an error, not a silent default."""

import difflib
import inspect

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

_RUNNER_KEYS = (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | {
    'auto_scale_lr', 'env_cfg', 'default_scope', 'log_processor', 'randomness', 'resume',
    'load_from', 'work_dir', 'launcher', 'vis_backends'}


def close_match(key: str, known) -> str | None:
    """The known name that ``key`` is probably a misspelling of, if any."""
    matches = difflib.get_close_matches(key, list(known), n=1, cutoff=0.8)
    return matches[0] if matches else None


def _check_top_level(cfg: Config, path: str) -> None:
    """Any top-level name may be a user's variable, unless it looks like a typo."""
    for key in cfg:
        if key in _RUNNER_KEYS or any(key == f'{s}_pipeline' for s in ('train', 'val', 'test')):
            continue
        meant = close_match(key, _RUNNER_KEYS)
        if meant:
            raise KeyError(f'{path}: unknown key {key!r}; did you mean {meant!r}?')


def _check_option(cfg: Config, key: str, path: str) -> None:
    """``--cfg-options`` may change what is there, or add an argument to a component."""
    if '.' not in key and key in cfg and key not in _RUNNER_KEYS:
        raise KeyError(
            f'{path}: --cfg-options {key}: this is a variable of the config file, which has been '
            'used by now; name the place instead, such as train_dataloader.dataset.catalogue')
    node, walked = cfg, []
    for part in key.split('.'):
        where = '.'.join(walked) or 'the top level'
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise KeyError(f'{path}: --cfg-options {key}: {where} is a list of {len(node)}, '
                               f'it has no item {part!r}')
            node = node[int(part)]
        elif isinstance(node, (dict, Config)):
            if part not in node:
                # a component checks its own arguments when it is built
                if isinstance(node, ConfigDict) and 'type' in node or (
                        not walked and part in _RUNNER_KEYS):
                    return
                meant = close_match(part, node)
                raise KeyError(f'{path}: --cfg-options {key}: {where} has no key {part!r}'
                               + (f'; did you mean {meant!r}?' if meant else ''))
            node = node[part]
        else:
            return  # a leaf is replaced by something nested
        walked.append(part)


def load_config(path: str, options: dict | None = None) -> Config:
    """A config file with ``--cfg-options`` merged in.

    Args:
        path: config file.
        options: dotted key -> value.

    Raises:
        KeyError: a key that nothing reads, with the config's name.
    """
    cfg = Config.fromfile(path)
    _check_top_level(cfg, path)
    if options:
        for key in options:
            _check_option(cfg, key, path)
        cfg.merge_from_dict(options)
    return cfg
