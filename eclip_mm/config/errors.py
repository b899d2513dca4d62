"""Errors that name the config and say what to do about a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager


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
            error.args = (f'{message}\n(config: {path})', *error.args[1:])
        raise


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
            error.args = (f'{error.args[0] if error.args else ""}\n({advice})', *error.args[1:])
        raise


def _imports(cfg) -> list[str]:
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    return [imports] if isinstance(imports, str) else list(imports)
