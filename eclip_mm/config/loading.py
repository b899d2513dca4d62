"""Loading a config so that a misspelt key is an error, not a silent default."""

import ast
import difflib
import inspect
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from eclip_mm.checkpoint import safe_loading
from eclip_mm.config.towers import use_tower_tokenizer

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
    'model_wrapper_cfg',
    'runner_type',
}


class CachedTextConfig(Config):
    """A config whose text is formatted once.

    mmengine writes the text into every checkpoint and has yapf format it anew
    each time, which takes longer than saving a small model.
    """

    _texts: dict[str, str] = {}

    @property
    def pretty_text(self) -> str:
        key = repr(self._cfg_dict)
        if key not in self._texts:
            self._texts[key] = super().pretty_text
        return self._texts[key]


def close_match(key: str, known) -> str | None:
    """The known name that ``key`` is probably a misspelling of, if any."""
    matches = difflib.get_close_matches(key, list(known), n=1, cutoff=0.8)
    return matches[0] if matches else None


def _check_top_level(cfg: Config, path: str) -> None:
    """Any top-level name may be a user's variable, unless it looks like a typo."""
    for key in cfg:
        if key in RUNNER_KEYS or any(key == f'{s}_pipeline' for s in ('train', 'val', 'test')):
            continue
        meant = close_match(key, RUNNER_KEYS)
        if meant:
            raise KeyError(f'{path}: unknown key {key!r}; did you mean {meant!r}?')


def _check_variables(path: str | Path) -> tuple[set[str], set[str]]:
    """A variable that the base files have used already cannot be set again in vain.

    ``train_pipeline = [...]`` in a child changes nothing unless the child also
    puts it into its dataset: what the base made of its own one is done.

    Returns:
        Names that the file and its bases assign, and those that they read.
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
    base_assigned, base_read = set(), set()
    if '_base_' in assigned:
        bases = ast.literal_eval(assigned.pop('_base_').value)
        for base in [bases] if isinstance(bases, str) else bases:
            if '::' in base:  # of another library
                continue
            names = _check_variables(Path(path).parent / base)
            base_assigned |= names[0]
            base_read |= names[1]
    for name in assigned:
        if name in base_assigned & base_read and name not in read | RUNNER_KEYS:
            raise KeyError(
                f'{path}: nothing uses {name!r}: its base config has used its own by '
                'now; repeat here the part that should read it, or set that part'
            )
    return base_assigned | set(assigned), base_read | read


def _check_option(cfg: Config, key: str, path: str) -> None:
    """``--cfg-options`` may change what is there, or add an argument to a component."""
    root = key.split('.')[0]
    if root in cfg and root not in RUNNER_KEYS:
        raise KeyError(
            f'{path}: --cfg-options {key}: {root} is a variable of the config file that has been '
            'used by now; name the place instead, such as train_dataloader.dataset.catalogue'
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
            return  # a leaf is replaced by something nested
        walked.append(part)


def load_config(
    path: str, options: dict | None = None, complete: Callable[[Config], None] | None = None
) -> Config:
    """A config file with ``--cfg-options`` merged in.

    Args:
        path: config file.
        options: dotted key -> value.
        complete: changes the config before the options do, in place.

    Raises:
        KeyError: a key that nothing reads, with the config's name.
    """
    safe_loading.install()  # what is loaded or saved by this config comes under its rules
    cfg = Config.fromfile(path)
    cfg = CachedTextConfig(cfg._cfg_dict, cfg.text, cfg.filename, cfg.env_variables)
    if str(path).endswith('.py'):
        _check_variables(path)
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
            f'{path}: find_unused_parameters counts for nothing beside model_wrapper_cfg; set '
            'model_wrapper_cfg=dict(find_unused_parameters=True, static_graph=False) instead'
        )
    use_tower_tokenizer(cfg)
    return cfg


@contextmanager
def naming_config(path: str):
    """Let what goes wrong inside name the config that it goes back to."""
    try:
        yield
    except Exception as error:
        message = error.args[0] if error.args else ''
        if isinstance(message, str):
            error.args = (f'{message}\n(config: {path})', *error.args[1:])
        raise
