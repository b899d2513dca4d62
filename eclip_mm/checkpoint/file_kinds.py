"""What a file is that was taken for a checkpoint."""

import zipfile
from typing import BinaryIO

import torch

#: how much of a file is looked at
_HEAD = 1024
#: first bytes -> what the file is
_BEGINNINGS = (
    (b'version https://git-lfs', 'a Git LFS pointer; fetch the file itself with `git lfs pull`'),
    (b'\x1f\x8b', 'compressed with gzip; unpack it with gunzip'),
    (b'\x89HDF', 'an HDF5 file, as Keras writes it'),
    (b'GGUF', 'a GGUF file of llama.cpp'),
    (b'\x93NUMPY', 'an array of numpy'),
    (b'PAR1', 'a Parquet file; is it the catalogue?'),
    (b'%PDF', 'a PDF'),
    (b'\x89PNG', 'a picture'),
    (b'\xff\xd8\xff', 'a picture'),
)


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON text, and the text."""
    length = int.from_bytes(head[:8], 'little')
    return len(head) > 8 and 2 <= length < 2**30 and head[8:].lstrip()[:1] == b'{'


def read_head(file: BinaryIO) -> bytes:
    """The beginning of a file; its position stays."""
    place = file.tell()
    head = file.read(_HEAD)
    file.seek(place)
    return head


def name_kind(file: BinaryIO) -> str | None:
    """What a file is that is no checkpoint of torch; None for one that may be."""
    head = read_head(file)
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if not head:
        return 'empty; was the disk full, or is the download not complete?'
    if not head.strip(b'\0'):
        return 'full of zeros; was the disk full, or is the download not complete?'
    place = file.tell()
    try:
        return _kind_of_zip(file) if zipfile.is_zipfile(file) else _kind_of_text(head)
    finally:
        file.seek(place)


def _kind_of_zip(file: BinaryIO) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:  # damaged: torch says so
        return None
    endings = {name.rpartition('/')[2] for name in names}
    if 'constants.pkl' in endings:
        return 'a TorchScript program; save its state_dict() with torch.save'
    if 'data.pkl' in endings:
        return None
    return f'a zip archive of other files ({", ".join(names[:3])})'


def _kind_of_text(head: bytes) -> str | None:
    try:
        text = head.decode('utf-8', errors='strict' if len(head) < _HEAD else 'ignore')
    except UnicodeDecodeError:
        return None
    if any(ord(c) < 32 and c not in '\t\n\r\f' for c in text):
        return None
    shown = ' '.join(text.split())[:60]
    start = text.lstrip('\ufeff \t\r\n').lower()
    if start.startswith(('<!doctype html', '<html', '<head', '<body')):
        return f'an HTML page and no download, perhaps one that asks to log in: {shown!r}'
    if start.startswith('<'):
        return f'an XML text, perhaps an error of the server: {shown!r}'
    if start.startswith(('{', '[')):
        index = ', the index of weights in several files' if '"weight_map"' in text else ''
        return f'a JSON text{index}: {shown!r}'
    return f'a text: {shown!r}'


def name_content(content) -> str | None:
    """What torch has loaded if it is no dict of weights; None if it is one."""
    if isinstance(content, dict):
        return None
    if isinstance(content, torch.Tensor):
        return f'a single tensor of shape {tuple(content.shape)}'
    if isinstance(content, list | tuple):
        return f'a {type(content).__name__} of {len(content)} items'
    return f'a value of type {type(content).__name__}'
