"""Checkpoints that hold tensors and plain Python values only.

mmengine pickles whole ``HistoryBuffer`` objects into a checkpoint and loads
with ``weights_only=False``: whoever opens a stranger's file runs the
stranger's code. Here every checkpoint is written as plain data, in one piece,
and read with ``weights_only=True`` wherever it comes from.
"""

import os
import pickle
from functools import partial
from pathlib import Path

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner.checkpoint import CheckpointLoader

from eclip_mm.utils.files import whole_file


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


def load_from_url(url: str, map_location=None) -> dict:
    """Downloads once into torch's hub cache, then :func:`load_from_local`."""
    folder = os.path.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, os.path.basename(url))
    if not os.path.exists(path):
        torch.hub.download_url_to_file(url, path)
    return load_from_local(path, map_location)


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
        with whole_file(filepath) as part:
            write(part)


def read_checkpoint(path: str | Path, map_location: str = 'cpu') -> dict:
    """The contents of a checkpoint, wherever mmengine finds it, without running pickled code.

    Args:
        path: file, or address that one of mmengine's loaders knows.
        map_location: where the tensors go; ``meta`` keeps none of them in memory.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_from_local`.
    """
    install()
    return CheckpointLoader.load_checkpoint(str(path), map_location=map_location)


def install() -> None:
    """Let every loader of mmengine refuse pickled code, and every local file be written whole.

    For the whole process, and once: calling it again changes nothing. Whatever loads or writes a
    checkpoint calls it first.
    """
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'), load_from_url, force=True)
    # the remaining schemes (s3, petrel, open-mmlab, ...) end in one of these two
    checkpoint_module._safe_torch_load = _load_plain
    checkpoint_module.load_url = partial(torch.hub.load_state_dict_from_url, weights_only=True)
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')


def _load_plain(file, map_location=None, weights_only=True):
    """``torch.load`` without pickled code, whatever the caller asks for."""
    return torch.load(file, map_location=map_location, weights_only=True)
