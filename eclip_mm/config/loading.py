"""Loading configs with checks, so that a misspelt key is an error and not ignored."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.config.config import RESERVED_KEYS
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from eclip_mm.checkpoint import safe_loading
from eclip_mm.config.towers import use_tower_tokenizer
from eclip_mm.registry import FUNCTIONS
from eclip_mm.utils.matches import close_match
from eclip_mm.utils.shipped import find_config

#: `_base_ = 'eclip_mm::demo/clip_photos.py'` finds the configs of an installed wheel
MODULE2PACKAGE.setdefault('eclip_mm', 'eclip_mm')

RUNNER_KEYS = (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | {
    'auto_scale_lr',
    'custom_imports',
    'env_cfg',
    'default_scope',
    'log_processor',
    'randomness',
    'resume',
    'load_from',
    'work_dir',
    'launcher',
    'find_unused_parameters',
    'sync_bn',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'compile',
    'feature_cache',
    'adapt_to',
    'model_wrapper_cfg',
    'runner_type',
}


class CachedTextConfig(Config):
    """A config that keeps its formatted text.

    mmengine writes this text into every checkpoint. Formatting it with yapf each
    time would take longer than saving a small model.
    """

    _texts: dict[str, str] = {}

    @property
    def pretty_text(self) -> str:
        key = repr(self._cfg_dict)
        if key not in self._texts:
            self._texts[key] = super().pretty_text
        return self._texts[key]


def _check_top_level(cfg: Config, path: str) -> None:
    """Refuse top-level names that look like a misspelt key; others may be a user's variables."""
    for key in cfg:
        if key in RUNNER_KEYS or any(key == f'{s}_pipeline' for s in ('train', 'val', 'test')):
            continue
        meant = close_match(key, RUNNER_KEYS)
        if meant:
            raise KeyError(f'{path}: unknown key {key!r}; did you mean {meant!r}?')


def _check_variables(path: str | Path) -> tuple[set[str], set[str]]:
    """Refuse a reserved name, and a variable without effect, because only the base files use it.

    Base files are evaluated first, with their own values. ``train_pipeline = [...]``
    in a child therefore changes nothing unless the child also puts it into its
    dataset.

    Returns:
        Names that the file and its bases assign, and names that they read.
    """
    tree = ast.parse(Path(path).read_text(encoding='utf-8'), filename=str(path))
    assigned = {
        target.id: node
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    read = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    for name in RESERVED_KEYS:
        if name in assigned:
            raise KeyError(
                f'{path}, line {assigned[name].lineno}: {name!r} cannot be a variable, since '
                f'every config has an attribute of this name; call it {"my_" + name!r}'
            )
    base_assigned, base_read = set(), set()
    if '_base_' in assigned:
        bases = ast.literal_eval(assigned.pop('_base_').value)
        for base in [bases] if isinstance(bases, str) else bases:
            if '::' in base:  # a config of another library
                continue
            names = _check_variables(Path(path).parent / base)
            base_assigned |= names[0]
            base_read |= names[1]
    for name in assigned:
        if name in base_assigned & base_read and name not in read | RUNNER_KEYS:
            raise KeyError(
                f'{path}: nothing uses {name!r}, because the base config was evaluated with '
                'its own value. Repeat the part that should use it in this file, or set that part'
            )
    return base_assigned | set(assigned), base_read | read


def _check_option(cfg: Config, key: str, path: str) -> None:
    """Refuse a key of ``--cfg-options`` unless it exists or is an argument of a component."""
    root = key.split('.')[0]
    if root in cfg and root not in RUNNER_KEYS:
        raise KeyError(
            f'{path}: --cfg-options {key}: {root} is a variable of the config file, which has '
            'already been evaluated; name the key that uses it, such as '
            'train_dataloader.dataset.catalogue'
        )
    node, walked = cfg, []
    for part in key.split('.'):
        where = '.'.join(walked) or 'the top level'
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise KeyError(
                    f'{path}: --cfg-options {key}: {where} is a list of {len(node)}, '
                    f'it has no item {part!r}'
                )
            node = node[int(part)]
        elif isinstance(node, (dict, Config)):
            if part not in node:
                # a component checks its own arguments when it is built
                if (
                    isinstance(node, ConfigDict)
                    and 'type' in node
                    or (not walked and part in RUNNER_KEYS)
                ):
                    return
                meant = close_match(part, node)
                raise KeyError(
                    f'{path}: --cfg-options {key}: {where} has no key {part!r}'
                    + (f'; did you mean {meant!r}?' if meant else '')
                )
            node = node[part]
        else:
            return  # the value is replaced by a nested one
        walked.append(part)


def _check_loaders(cfg: Config, path: str) -> None:
    """Refuse settings of worker processes for a loader without workers."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name) or {}
        for key in ('persistent_workers', 'prefetch_factor'):
            if not loader.get('num_workers') and loader.get(key):
                raise ValueError(
                    f'{path}: {name}.{key}={loader[key]} is for worker processes, but '
                    f'{name}.num_workers is {loader.get("num_workers", 0)}; set it to 1 or more, '
                    f'or {name}.{key}={"None" if key == "prefetch_factor" else "False"}'
                )


def load_config(
    path: str, options: dict | None = None, complete: Callable[[Config], None] | None = None
) -> Config:
    """Load a config file and merge ``--cfg-options`` into it.

    Args:
        path: path of the config file, or name of one that comes with the package, see
            :func:`find_config`.
        options: dotted key -> value.
        complete: a function that changes the config in place before the options do.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: nothing reads a key, or a name is reserved. It names the key and the
            config.
        ValueError: two settings contradict each other.
    """
    path = find_config(path)
    safe_loading.install()  # for the checkpoints that this config loads or saves
    if str(path).endswith('.py'):
        _check_variables(path)
    cfg = Config.fromfile(path)
    cfg = CachedTextConfig(cfg._cfg_dict, cfg.text, cfg.filename, cfg.env_variables)
    _check_top_level(cfg, path)
    if complete is not None:
        complete(cfg)
    if options:
        for key in options:
            _check_option(cfg, key, path)
        cfg.merge_from_dict(options)
        if any(key.split('.')[0] == 'custom_imports' for key in options):
            import_modules_from_strings(**cfg.custom_imports)  # as Config.fromfile does
    if cfg.get('find_unused_parameters') and cfg.get('model_wrapper_cfg'):
        raise KeyError(
            f'{path}: find_unused_parameters has no effect if model_wrapper_cfg is set; use '
            'model_wrapper_cfg=dict(find_unused_parameters=True, static_graph=False) instead'
        )
    _check_loaders(cfg, path)
    use_tower_tokenizer(cfg)
    if cfg.get('adapt_to'):
        # it reads the catalogue, for which the entries above this one in the layout are needed
        FUNCTIONS.get('adapt_to_catalogue')(cfg)
    return cfg
