"""Reading of JSON that ought to be a COCO detection file."""

import json
from collections.abc import Sequence
from pathlib import Path

from mmengine.fileio import get

from eclip_mm.datasets.storage.schema import CatalogueError


def read_json(path: str | Path, backend_args: dict | None = None):
    """Read JSON in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        CatalogueError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(get(str(path), backend_args=backend_args))
    except (OSError, ValueError, RecursionError) as error:
        raise CatalogueError(f'{path}: cannot be read as JSON ({error})') from error


def read_coco_json(
    path: str | Path,
    backend_args: dict | None = None,
    required: Sequence[str] = ('images', 'categories'),
) -> dict:
    """Read a file that has the lists of a COCO detection file.

    Raises:
        CatalogueError: the file is no such file.
    """
    data = read_json(path, backend_args)
    advice = 'give a COCO detection file: an object with images, annotations and categories'
    if not isinstance(data, dict):
        raise CatalogueError(f'{path}: is {_kind(data)}; {advice}')
    for key in required:
        if key not in data:
            raise CatalogueError(f'{path}: the key {key!r} is missing; {advice}')
    for key in ('images', 'categories', 'annotations'):
        if not isinstance(data.get(key, []), list):
            raise CatalogueError(f'{path}: {key!r} is {_kind(data[key])}, not a list; {advice}')
    return data


def _kind(value) -> str:
    return {list: 'a list', dict: 'an object', str: 'a text', type(None): 'null'}.get(
        type(value), f'{value!r:.40}'
    )
