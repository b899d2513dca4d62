"""Errors that name the config and say what to do about a checkpoint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.registry import Registry

import eclip_mm.registry
from eclip_mm.utils.matches import close_match

#: how mmengine says that a registry does not have a name
_UNKNOWN_TYPE = re.compile(
    r'(?P<name>[\w.:]+) is not in the (?:[\w.]+::)?(?P<registry>[\w ]+) registry\. Please check '
    r'.*?#import-the-custom-module'
)


@contextmanager
def name_config_in_errors(path: str) -> Iterator[None]:
    """Add the path of the config to the message of any error in this block.

    Args:
        path: path of the config file.
    """
    try:
        yield
    except Exception as error:
        message = error.args[0] if error.args else ''
        if isinstance(message, str):
            message = _UNKNOWN_TYPE.sub(_explain_unknown_type, message)
            error.args = (f'{message}{_gap(error)}(config: {path})', *error.args[1:])
        raise


def _gap(error: Exception) -> str:
    return ' ' if isinstance(error, KeyError) else '\n'  # its text is the repr of the message


def _explain_unknown_type(found: re.Match) -> str:
    """An unknown type with the name that was probably meant, or with what is to be done."""
    name, kind = found['name'], found['registry']
    known = set()
    for registry in vars(eclip_mm.registry).values():
        if isinstance(registry, Registry) and registry.name == kind:
            registry.import_from_location()
            root = registry.parent or registry
            for part in (root, *root.children.values()):
                known |= set(part.module_dict)
    meant = close_match(name.rpartition('.')[2], known)
    advice = (
        f'did you mean {meant!r}?'
        if meant
        else ('check the spelling; your own component needs custom_imports=dict(imports=[MODULE])')
    )
    return f'type={name!r} is no {kind} that is known; {advice}'


@contextmanager
def explain_checkpoint_errors(cfg, saved: dict) -> Iterator[None]:
    """Add advice to errors of building a checkpoint's model and loading its weights.

    Args:
        cfg: ``Config`` of the evaluation.
        saved: config of the training, as
            :func:`~eclip_mm.config.from_checkpoint.complete_from_checkpoint` returns it.
    """
    try:
        yield
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        advice = ''
        known = _imports(cfg)
        imports = [name for name in _imports(saved) if name not in known]
        folders = [
            f'model.{name}.pretrained={part["pretrained"]}'
            for name, part in saved.get('model', {}).items()
            if isinstance(part, dict) and part.get('pretrained')
        ]
        dual = saved.get('model', {}).get('pretrained_dual')
        if isinstance(dual, str):
            folders.append(f'model.pretrained_dual={dual}')
        if isinstance(error, KeyError) and imports:
            advice = (
                f'the training imported {imports}, and this evaluation does not, since importing '
                'runs code. If you trust it, add --cfg-options '
                f'"custom_imports.imports=[{",".join(imports)}]"'
            )
        elif folders:
            advice = (
                'the training read initial weights, and the checkpoint does not hold their '
                'architecture. If it came from them too, write its `model_type` and `config` into '
                f'the training config, or add --cfg-options {" ".join(folders)} with folders that '
                'exist here'
            )
        if advice:
            message = error.args[0] if error.args else ''
            error.args = (f'{message}{_gap(error)}({advice})', *error.args[1:])
        raise


def _imports(cfg) -> list[str]:
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    return [imports] if isinstance(imports, str) else list(imports)
