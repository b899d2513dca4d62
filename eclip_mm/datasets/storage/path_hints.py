"""Why a picture may not be where a catalogue says, and which file was probably meant."""

import html
import os
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote, urlsplit

# s3://bucket/a.jpg, //cdn.shop/a.jpg, data:image/png;base64,...; not C:\\a.jpg
_ADDRESS = re.compile(r'([A-Za-z][A-Za-z0-9+.-]+:)?//|data:', re.ASCII)
# What is undone, in this order, and how a path looks that needs it.
_MEND: tuple[tuple[str, Callable[[str], str]], ...] = (
    ('it has white space around it', str.strip),
    ('it has backslashes', lambda path: path.replace('\\', '/')),
    ('it is percent-encoded', unquote),
    ('it has HTML entities', html.unescape),
    ('it has the query of an address', lambda path: re.sub(r'[?#].*', '', path)),
    ('it begins with a slash', lambda path: path.lstrip('/')),
)


def path_hint(path: str, folder: str | None) -> str:
    """A clause for the message that there is no such file, or an empty string.

    Args:
        path: path of a picture as it stands in the catalogue.
        folder: folder of the catalogue; None on a remote file system, whose folders are not
            listed.
    """
    if _ADDRESS.match(path):
        if path.startswith('file://'):
            return f"; it is an address: write the path '{unquote(urlsplit(path).path)}'"
        return '; it is an address: download the picture and give the path of the file'
    if folder is None:
        return ''
    for reason, mend in (*_MEND, ('', _mend_all)):
        mended = mend(path)
        found = _resolve(folder, mended) if mended != path or not reason else None
        if found is not None:
            reasons = [reason] if reason else [r for r, mend in _MEND if mend(path) != path]
            if not _exists(folder, mended):
                reasons.append(_difference(mended, found))
            return f"; {', '.join(reasons)}: '{found}' was probably meant"
    if os.path.exists(path):
        meant = os.path.relpath(path, folder)
        return f"; it is there from the working directory: '{meant}' was probably meant"
    return ''


def _mend_all(path: str) -> str:
    for _, mend in _MEND:
        path = mend(path)
    return path


def _exists(folder: str, path: str) -> bool:
    return os.path.exists(os.path.join(folder, path))


def _difference(path: str, found: str) -> str:
    same_form = unicodedata.normalize('NFC', path) == unicodedata.normalize('NFC', found)
    if same_form:
        return 'it is in another Unicode form (NFC or NFD)'
    if path.casefold() == found.casefold():
        return 'it differs in upper and lower case'
    if _fold(path) == _fold(found):
        return 'it differs in case and Unicode form'
    return 'it has another suffix'


def _resolve(folder: str, path: str) -> str | None:
    """The file that a path names but for case, Unicode form and suffix, written as on disk."""
    if not path or os.path.isabs(path):
        return path if path and os.path.isfile(path) else None
    at, parts = folder, []
    *folders, last = path.split('/')
    for part in folders:
        name = part if part in ('', '.', '..') else _listed(at, part, _fold)
        if name is None:
            return None
        at = os.path.join(at, name)
        parts.append(name)
    name = _listed(at, last, _fold) or _listed(at, last, lambda name: _fold(_stem(name)))
    return None if name is None else '/'.join([*parts, name])


def _listed(folder: str, name: str, key: Callable[[str], str]) -> str | None:
    names = _names(folder)
    if name in names:
        return name
    alike = [other for other in names if key(other) == key(name)]
    return alike[0] if len(alike) == 1 else None


@lru_cache(maxsize=8)
def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _fold(name: str) -> str:
    return unicodedata.normalize('NFC', unicodedata.normalize('NFC', name).casefold())
