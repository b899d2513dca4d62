"""Checkpoints that hold tensors and plain Python values only.

mmengine pickles whole ``HistoryBuffer`` objects into a checkpoint and loads
with ``weights_only=False``: whoever opens a stranger's file runs the
stranger's code. Here every checkpoint is written as plain data, in one piece,
and read with ``weights_only=True`` wherever it comes from.
"""

import os
import pickle
from functools import partial

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner.checkpoint import CheckpointLoader

from eclip_mm.engine.resume_check import check_resumable, training_state
from eclip_mm.engine.self_contained import (
    check_tokenizer,
    encoder_architectures,
    read_meta,
    tokenizer_state,
    use_saved_architecture,
    use_saved_tokenizer,
)
from eclip_mm.registry import HOOKS
from eclip_mm.utils.config_text import parse_config_text, refuse_import_paths

# all that an evaluation takes from a stored config
SAVED_KEYS = ('model', 'data_preprocessor', 'test_dataloader', 'test_pipeline', 'custom_imports')


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location=None) -> dict:
    """Local checkpoints for every mmengine loader, without running pickled code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds more than tensors and plain values, or is
            damaged.
    """
    filename = str(filename)
    try:
        return torch.load(filename, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{filename} can not be found.') from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'{filename} holds pickled objects beside tensors, or is damaged. Loading it could '
            'run code from the file, so it is refused. If you trust its author, convert it once:\n'
            f"    python -c \"import torch; c = torch.load('{filename}', weights_only=False); "
            f"torch.save(dict(state_dict=c.get('state_dict', c)), '{filename}.safe.pth')\""
        ) from error
    except (EOFError, KeyError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and 'PytorchStreamReader' not in str(error):
            raise  # such as a device that this machine does not have
        raise ValueError(
            f'{filename} is no checkpoint, or is damaged: was the program that wrote it '
            'killed, or the disk full? Take an earlier one.'
        ) from error


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_url(url: str, map_location=None) -> dict:
    """Downloads once into torch's hub cache, then :func:`load_from_local`."""
    folder = os.path.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, os.path.basename(url))
    if not os.path.exists(path):
        torch.hub.download_url_to_file(url, path)
    return load_from_local(path, map_location)


# the remaining schemes (s3, petrel, open-mmlab, ...) end in one of these two
checkpoint_module._safe_torch_load = lambda file, map_location=None, weights_only=True: torch.load(
    file, map_location=map_location, weights_only=True
)
checkpoint_module.load_url = partial(checkpoint_module.load_url, weights_only=True)


@register_backend('local', prefixes='', force=True)
class AtomicLocalBackend(LocalBackend):
    """A local file is there whole or not at all, even after ``kill -9``.

    mmengine rewrites a checkpoint in place when it turns out to be the best.
    """

    def put(self, obj: bytes, filepath) -> None:
        self._replace(filepath, lambda path: super(AtomicLocalBackend, self).put(obj, path))

    def put_text(self, obj: str, filepath, encoding: str = 'utf-8') -> None:
        self._replace(
            filepath, lambda path: super(AtomicLocalBackend, self).put_text(obj, path, encoding)
        )

    @staticmethod
    def _replace(filepath, write) -> None:
        part = f'{filepath}.{os.getpid()}.part'
        write(part)
        os.replace(part, filepath)


def read_saved_config(filename: str) -> dict:
    """What an evaluation takes from the config in a checkpoint, which is never executed.

    Returns:
        Its :data:`SAVED_KEYS`, as far as it has them; encoders with the
        architecture and pipelines with the tokenizer that the checkpoint
        itself holds.

    Raises:
        ConfigTextError: the stored text is more than plain values, or names a
            component by the path of a Python object.
    """
    meta = read_meta(filename)
    name = f'{filename}: its config'
    saved = parse_config_text(meta['cfg'], name) if meta.get('cfg') else {}
    saved = {key: saved[key] for key in SAVED_KEYS if key in saved}
    use_saved_architecture(saved.get('model', {}), meta)
    use_saved_tokenizer(saved, meta, str(filename))
    refuse_import_paths(saved, name)
    return saved


def to_plain(value):
    """Nested data with numpy scalars and arrays, histories, ... as plain values."""
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return dict(
            __history__=True,
            log=torch.as_tensor(np.array(log, dtype=np.float64)),
            count=torch.as_tensor(np.array(count, dtype=np.int64)),
            max_length=value.max_length,
        )
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def from_plain(value):
    """Histories back from what :func:`to_plain` made of them."""
    if isinstance(value, dict):
        if value.get('__history__'):
            return HistoryBuffer(
                value['log'].tolist(), value['count'].tolist(), value['max_length']
            )
        return {key: from_plain(item) for key, item in value.items()}
    return value


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Turns checkpoints into plain data when written, and back when read.

    They also get what they need to stand alone
    (:mod:`~eclip_mm.engine.self_contained`), and are checked against the run
    that reads them: the vocabulary always, batches and epochs where a training
    goes on (:mod:`~eclip_mm.engine.resume_check`).
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._tokenizer: dict | None = None

    def before_train(self, runner) -> None:
        self._tokenizer = tokenizer_state(runner.cfg)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        model = getattr(runner.model, 'module', runner.model)
        checkpoint['meta'].update(
            encoders=encoder_architectures(model),
            tokenizer=self._tokenizer,
            training=training_state(runner),
        )
        for key in list(checkpoint):
            if key != 'state_dict':
                checkpoint[key] = to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        meta = checkpoint.get('meta', {})
        # mmengine runs this text as Python when it resumes, to compare one field
        # that it no longer writes: only a stranger's file has it
        meta.pop('config', None)
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = from_plain(checkpoint['message_hub'])
        if runner._resume:
            check_resumable(runner, meta.get('training'))
            check_tokenizer(runner.cfg.get('train_dataloader'), meta)
        elif not runner._load_from:  # that may start a training with another vocabulary
            for key in ('test_dataloader', 'custom_hooks', 'default_hooks'):
                check_tokenizer(runner.cfg.get(key), meta)
