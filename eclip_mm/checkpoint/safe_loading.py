"""Reading checkpoints without running code from them, and writing them completely.

mmengine pickles whole ``HistoryBuffer`` objects into a checkpoint and loads it
with ``weights_only=False``, so opening the file of a stranger runs the stranger's
code. After :func:`install` every checkpoint is read with ``weights_only=True``,
wherever it comes from, and a local file is either written completely or not at all.
:mod:`~eclip_mm.checkpoint.plain` makes our own checkpoints readable that way.
"""

import io
import os
import pickle
from functools import partial
from pathlib import Path
from typing import BinaryIO

import safetensors.torch
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner.checkpoint import CheckpointLoader

from eclip_mm.checkpoint.file_kinds import (
    is_safetensors,
    name_content,
    name_kind,
    read_head,
)
from eclip_mm.utils.files import whole_file


def load_from_local(filename: str, map_location=None) -> dict:
    """Load a local checkpoint, of torch or in safetensors, without running pickled code.

    Args:
        filename: path of the checkpoint.
        map_location: as for ``torch.load``.

    Returns:
        What the file contains. Weights in safetensors are under ``state_dict``.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file contains more than tensors and plain values, is
            damaged, or is no checkpoint; the message says what it is.
    """
    path = Path(filename)
    if path.is_dir():
        last = path / 'last_checkpoint'
        hint = (
            f'its last checkpoint is {last.read_text().strip()}'
            if last.is_file()
            else ('initial weights of a tower are named by `pretrained` of an encoder')
        )
        raise ValueError(f'{filename} is a folder and no checkpoint; {hint}')
    try:
        with open(path, 'rb') as file:
            return load_from_file(file, map_location, str(filename))
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{filename} does not exist') from error


def load_from_file(file: BinaryIO, map_location=None, name: str = 'the checkpoint') -> dict:
    """:func:`load_from_local` for a file that is open.

    Args:
        file: opened for reading bytes.
        map_location: as for ``torch.load``.
        name: of the file, for errors.

    Raises:
        ValueError: as :func:`load_from_local`.
    """
    file = file if file.seekable() else io.BytesIO(file.read())
    if is_safetensors(read_head(file)):
        return dict(state_dict=_load_safetensors(file, map_location, name))
    kind = name_kind(file)
    if kind is not None:
        raise ValueError(f'{name} is no checkpoint: it is {kind}')
    try:
        content = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'{name} contains pickled objects besides tensors, or is damaged. Loading it '
            'could run code from the file, so it is refused. If you trust its author, convert it '
            'once:\n'
            f"    python -c \"import torch; c = torch.load('{name}', weights_only=False); "
            f"torch.save(dict(state_dict=c.get('state_dict', c)), '{name}.safe.pth')\""
        ) from error
    except (EOFError, KeyError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and 'PytorchStreamReader' not in str(error):
            raise  # such as a device that this machine does not have
        raise ValueError(
            f'{name} is not a checkpoint, or is damaged: was the program that wrote it '
            'killed, or the disk full? Use an earlier checkpoint.'
        ) from error
    kind = name_content(content)
    if kind is not None:
        raise ValueError(
            f'{name} is no checkpoint: it holds {kind}; a checkpoint is a dict of weights, or a '
            'dict that has them under state_dict'
        )
    return content


def _load_safetensors(file: BinaryIO, map_location, name: str) -> dict:
    device = getattr(map_location, 'type', map_location)
    try:
        if device in (None, 'cpu') and os.path.isfile(getattr(file, 'name', '')):
            return safetensors.torch.load_file(file.name)  # without a second copy in memory
        weights = safetensors.torch.load(file.read())
    except safetensors.SafetensorError as error:
        raise ValueError(
            f'{name} is damaged: the download of these safetensors is not complete, or the disk '
            f'was full ({error})'
        ) from error
    if map_location is not None:
        weights = {key: value.to(map_location) for key, value in weights.items()}
    return weights


def load_from_url(url: str, map_location=None) -> dict:
    """Download a checkpoint into torch's hub cache, unless it is there, and load it.

    Args:
        url: address of the checkpoint.
        map_location: as for ``torch.load``.

    Raises:
        ValueError: as :func:`load_from_local`.
    """
    folder = os.path.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, os.path.basename(url))
    if not os.path.exists(path):
        torch.hub.download_url_to_file(url, path)
    return load_from_local(path, map_location)


class AtomicLocalBackend(LocalBackend):
    """mmengine's local backend, which here replaces a file only when the new one is complete.

    mmengine itself writes in place, so a process that is killed leaves half of a
    checkpoint.
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
    """Read a checkpoint from any place that mmengine supports, without running pickled code.

    Args:
        path: path of a file, or an address that one of mmengine's loaders accepts.
        map_location: device of the tensors. With ``meta`` they take no memory.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: as :func:`load_from_local`.
    """
    install()
    # one file is read several times: its config, its tokenizer, its weights
    return CheckpointLoader.load_checkpoint(str(path), map_location, logger='silent')


def install() -> None:
    """Make mmengine refuse pickled code in checkpoints and write local files completely.

    This holds for the whole process. Everything that loads or writes a checkpoint calls it first;
    further calls change nothing.
    """
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'), load_from_url, force=True)
    # the remaining schemes (s3, petrel, open-mmlab, ...) end in one of these two
    checkpoint_module._safe_torch_load = _load_plain
    checkpoint_module.load_url = partial(torch.hub.load_state_dict_from_url, weights_only=True)
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')


def _load_plain(file, map_location=None, weights_only=True):
    """``torch.load`` without pickled code, even if the caller passes ``weights_only=False``."""
    if isinstance(file, str | os.PathLike):
        return load_from_local(file, map_location)
    return load_from_file(file, map_location)
