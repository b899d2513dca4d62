"""The images that a COCO file lists, and their files."""

import os
import reprlib
from collections.abc import Callable
from urllib.parse import unquote

from PIL import Image

from eclip_mm.datasets.converters.coco_faults import CocoFaults
from eclip_mm.datasets.converters.coco_values import as_size
from eclip_mm.datasets.storage.path_hints import path_hint
from eclip_mm.datasets.transforms.file_kinds import HEAD_BYTES, describe_file
from eclip_mm.datasets.transforms.orientation import read_sizes


def check_images(
    entries: list,
    read_id: Callable,
    faults: CocoFaults,
    image_root: str | None,
    check_files: bool,
    open_files: bool,
    as_seen: bool,
    sizes: dict,
) -> tuple[dict, set, set]:
    """Images that can be used.

    Args:
        entries: ``images`` of the file.
        read_id: function that reads ids.
        faults: faults that receive what is odd.
        image_root, check_files, open_files, as_seen, sizes: as in
            :func:`~eclip_mm.datasets.converters.coco_check.check_coco`.

    Returns:
        Id -> image with ``file_name``, ``width`` and ``height`` (None where the size is unknown);
        ids of images that are left out; and ids that two different images have.
    """
    images, left_out, shared = {}, set(), set()
    for number, entry in enumerate(entries):
        identity = read_id(entry.get('id')) if isinstance(entry, dict) else None
        name = entry.get('file_name') if identity is not None else None
        if not isinstance(name, str) or not name.strip():
            faults.add('broken image', f'images[{number}] is {reprlib.repr(entry)}')
            left_out.update(() if identity is None else (identity,))
            continue
        if isinstance(entry['id'], str) and isinstance(identity, int):
            faults.add('text number', f'id {entry["id"]!r} of image {name!r}')
        if identity in images:
            first = images[identity]['file_name']
            faults.add('repeated image', f'{name!r} has the id {identity!r} of {first!r}')
            if name != first:
                shared.add(identity)
            continue
        size = as_size(entry.get('width')), as_size(entry.get('height'))
        size = size if None not in size else sizes.get(identity, (None, None))
        images[identity] = {**entry, 'id': identity, 'file_name': name}
        images[identity]['width'], images[identity]['height'] = size
    if image_root is not None:
        for identity, image in list(images.items()):
            if not _check_file(image, image_root, faults, check_files, open_files, as_seen):
                del images[identity]
                left_out.add(identity)
    return images, left_out - images.keys(), shared


def _check_file(
    image: dict, root: str, faults: CocoFaults, check_files: bool, open_files: bool, as_seen: bool
) -> bool:
    """Complete an image by what its file says; whether it can be used."""
    name = image['file_name']
    if check_files or open_files:
        found = find_file(root, name)
        if found is None:
            # only the first three are shown, and a folder may be long
            hint = path_hint(name, root) if len(faults.faults.get('missing file', ())) < 3 else ''
            faults.add('missing file', f'{os.path.join(root, name)!r}{hint}')
            return False
        if found != name:
            faults.add('other spelling', f'{name!r} is {found!r}')
            image['file_name'] = found
    listed = image['width'], image['height']
    if not open_files and None not in listed:
        return True
    path = os.path.join(root, image['file_name'])
    try:
        with Image.open(path) as picture:
            stored, seen = read_sizes(picture)
    except Exception as error:  # whatever a decoder raises: this is no picture
        faults.add('no picture', f'{path} ({_reason(path, error)})')
        return False
    if listed in (stored, seen):
        return True
    size = seen if as_seen else stored
    if None in listed:
        faults.add('no size', f'image {image["id"]} ({name!r})')
    else:
        faults.add(
            'other size',
            f'{name!r} is {size[0]} x {size[1]}, the list says {listed[0]} x {listed[1]}',
        )
    image['size_of_file'] = True
    image['width'], image['height'] = size
    return True


def find_file(root: str, name: str) -> str | None:
    """Name of the file of an image, relative to a folder; None if there is none.

    Backslashes are read as folders and ``%20`` as a space where there is no file of the name.
    """
    slashes = name.replace('\\', '/')
    for candidate in dict.fromkeys((name, slashes, unquote(name), unquote(slashes))):
        try:
            candidate.encode()
        except UnicodeEncodeError:  # half a surrogate pair, which no catalogue can hold
            continue
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def _reason(path: str, error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        with open(path, 'rb') as file:
            return describe_file(file.read(HEAD_BYTES))
    return str(error) or type(error).__name__
