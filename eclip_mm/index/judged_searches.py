"""Searches whose results a person has judged: a file of them, and how an index does on it.

The file is JSON Lines, one search a line. The fields, with * those that must be there:

    query*   ``words``, ``photo`` (path relative to the file) or both; ``box`` (xyxy in pixels of
             the photo as it is seen); ``where`` (conditions such as ``category=shoes``)
    found*   what was shown, best first: a list of ``product_id`` and ``score``
    wrong    product_ids that were found and are wrong
    right    product_ids that are right; without any it is not known what is right
    checkpoint_sha256, time   weights that made the query, and when it was judged (ISO 8601)
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from eclip_mm.index.opening import Index
from eclip_mm.index.queries import Encoder, Query
from eclip_mm.utils.files import whole_file

FIELDS = ('query', 'found', 'wrong', 'right', 'checkpoint_sha256', 'time')
QUERY_FIELDS = ('words', 'photo', 'box', 'where')


@dataclass(frozen=True)
class JudgedSearch:
    """A search and what a person says about its results.

    Attributes:
        query: what was searched for.
        found: (product_id, score) of what was shown, best first.
        wrong: product_ids that were found and are wrong.
        right: product_ids that are right; empty if that is not known.
        checkpoint_sha256: weights that made the query.
    """

    query: Query
    found: tuple[tuple[str, float], ...]
    wrong: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    checkpoint_sha256: str = ''


def append_judged(path: str | Path, search: JudgedSearch) -> None:
    """Add a search to a file, and its photo to the folder ``photos`` beside it.

    Several processes may add to one file. The line of a process that was killed meanwhile is
    closed, so that it spoils no other.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+b') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        row = _row(search, path.parent)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        start = b'' if file.read(1) in (b'', b'\n') else b'\n'
        file.write(start + json.dumps(row, ensure_ascii=False).encode() + b'\n')
        file.flush()
        os.fsync(file.fileno())


def _row(search: JudgedSearch, folder: Path) -> dict:
    """A line of the file; its photo is written to the folder ``photos``."""
    query = dict(words=search.query.words, box=search.query.box, where=search.query.where)
    if search.query.photo is not None:
        query['photo'] = f'photos/{hashlib.sha256(search.query.photo).hexdigest()[:20]}'
        photo = folder / query['photo']
        if not photo.exists():
            photo.parent.mkdir(exist_ok=True)
            with whole_file(photo) as part:
                part.write_bytes(search.query.photo)
    return dict(
        query={key: value for key, value in query.items() if value},
        found=[dict(product_id=product, score=score) for product, score in search.found],
        wrong=list(search.wrong),
        right=list(search.right),
        checkpoint_sha256=search.checkpoint_sha256,
        time=datetime.now(timezone.utc).isoformat(timespec='seconds'),
    )


def read_judged(path: str | Path) -> Iterator[JudgedSearch]:
    """The searches of a file, in its order.

    Raises:
        FileNotFoundError: there is no such file, or a photo is missing.
        ValueError: a line is not of the form above; file and line are named.
    """
    path = Path(path)
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _parse(line, path, f'{path}, line {number}')


def _parse(line: str, path: Path, where: str) -> JudgedSearch:
    try:
        row = json.loads(line)
        _check_keys(row, FIELDS, where)
        query = row['query']
        _check_keys(query, QUERY_FIELDS, f"{where}, 'query'")
        box = query.get('box')
        photo = query.get('photo')
        if photo is not None:
            photo = _read_photo(path.parent / photo, where)
        elif not query.get('words'):
            raise ValueError(f"{where}: 'query' has neither words nor a photo")
        return JudgedSearch(
            Query(
                query.get('words', ''),
                photo,
                None if box is None else tuple(float(value) for value in box),
                tuple(c if isinstance(c, str) else tuple(c) for c in query.get('where', ())),
            ),
            tuple((hit['product_id'], float(hit['score'])) for hit in row['found']),
            _ids(row, 'wrong', where),
            _ids(row, 'right', where),
            row.get('checkpoint_sha256', ''),
        )
    except json.JSONDecodeError as error:
        raise ValueError(f'{where} is no JSON: {error}') from error
    except KeyError as error:
        raise ValueError(f'{where}: the field {error} is missing') from error
    except TypeError as error:
        raise ValueError(f'{where}: a field is of the wrong type: {error}') from error


def _read_photo(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileNotFoundError(
            f'{where}: the photo {path} cannot be read: {error.strerror}; paths are relative to '
            'the file'
        ) from error


def _ids(row: dict, name: str, where: str) -> tuple[str, ...]:
    ids = row.get(name, [])
    if not isinstance(ids, list) or not all(isinstance(value, str) for value in ids):
        raise ValueError(f'{where}: {name!r} is a list of product_ids, got {ids!r}')
    return tuple(ids)


def _check_keys(row, known: Sequence[str], where: str) -> None:
    if not isinstance(row, dict):
        raise ValueError(f'{where}: an object is expected, got {row!r}')
    if unknown := sorted(row.keys() - set(known)):
        raise ValueError(f'{where}: unknown field {unknown[0]!r}; there are {", ".join(known)}')


def judged_figures(
    index: Index, encoder: Encoder, searches: Sequence[JudgedSearch], k: int = 10
) -> dict[str, tuple[int, int, int]]:
    """Search again, and compare with what was shown.

    Args:
        index: the index, of the weights of ``encoder``.
        searches: of a file.
        k: number of hits that count.

    Returns:
        For each figure the number of searches that it counts, and for how many of them it holds
        for what was shown and now: ``right first`` and ``right among k`` of the searches whose
        right products are known, ``wrong among k`` of those that have wrong ones.

    Raises:
        ValueError: a query cannot be encoded, or is of other weights than the index.
    """
    counts = {name: [0, 0, 0] for name in ('right first', f'right among {k}', f'wrong among {k}')}
    for search in searches:
        vectors = search.query.vectors(encoder, index.manifest['feature'])
        hits = index.search(**vectors, k=k, where=search.query.where)[0]
        shown = [product for product, _ in search.found][:k]
        now = [hit['product_id'] for hit in hits]
        for name, products, depth in zip(
            counts, (search.right, search.right, search.wrong), (1, k, k), strict=True
        ):
            if products:
                counts[name][0] += 1
                for place, found in enumerate((shown, now), 1):
                    counts[name][place] += bool(set(found[:depth]) & set(products))
    return {name: tuple(numbers) for name, numbers in counts.items()}
