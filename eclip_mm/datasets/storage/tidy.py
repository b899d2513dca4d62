"""One spelling of what a catalogue's row may leave out, whatever program wrote it.

Every reader and writer passes its rows through :func:`tidy_row` before they are checked.
"""

from collections.abc import Mapping
from numbers import Real

from eclip_mm.datasets.storage.schema import DEFAULT_SOURCE, PICTURE_COLUMN
from eclip_mm.datasets.storage.words import without_lone_surrogates


def tidy_row(row):
    """A row without what counts as missing.

    NaN is a missing value everywhere, and an empty ``category``, ``source``, ``path`` or ``boxes``
    is a missing one. A missing source is ``unknown``. Where a picture has bytes, its path is only
    a name, and is dropped. A single ``image`` is a list of one. Half a surrogate pair in the text
    or category, as where an emoji was cut in two, becomes U+FFFD.

    Args:
        row: catalogue row; what is no mapping is returned as it is.
    """
    if not isinstance(row, Mapping):
        return row
    tidy = {key: None if _is_nan(value) else value for key, value in row.items()}
    if PICTURE_COLUMN in tidy and 'images' not in tidy:
        tidy['images'] = [tidy.pop(PICTURE_COLUMN)]
    for key in ('text', 'category'):
        if isinstance(tidy.get(key), str):
            tidy[key] = without_lone_surrogates(tidy[key])
    if _is_missing(tidy.get('category')):
        tidy['category'] = None
    if tidy.get('attributes') is None:
        tidy.pop('attributes', None)
    if isinstance(tidy.get('images'), (list, tuple)):
        tidy['images'] = [tidy_image(image) for image in tidy['images']]
    return tidy


def tidy_image(image, boxes: bool = True):
    """The fields of a picture that are set, with or without its boxes; see :func:`tidy_row`."""
    if not isinstance(image, Mapping):
        return image
    optional = ('path', 'source', 'boxes')
    tidy = {
        key: value
        for key, value in image.items()
        if not (_is_missing(value) if key in optional else value is None or _is_nan(value))
        and (boxes or key != 'boxes')
    }
    if 'path' in tidy and tidy.get('bytes'):
        del tidy['path']
    elif 'path' in tidy and 'bytes' in tidy:  # empty bytes beside a path
        del tidy['bytes']
    tidy.setdefault('source', DEFAULT_SOURCE)
    return tidy


def _is_missing(value) -> bool:
    return value is None or _is_nan(value) or (isinstance(value, str) and not value.strip())


def _is_nan(value) -> bool:
    return isinstance(value, Real) and value != value
