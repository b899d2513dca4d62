"""Which texts a vocabulary was trained on, so that one of an older catalogue is noticed."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from mmengine.logging import print_log

from eclip_mm.datasets.catalogue import Catalogue, read_catalogue
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.stored_files import find_files
from eclip_mm.datasets.wordpiece import count_words
from eclip_mm.utils.files import write_whole_json

Catalogues = str | Path | Sequence[str | Path]


def note_origin(
    vocab_file: Path, words: Sequence[str], catalogue: Catalogues, rows: Catalogue
) -> None:
    """Write beside a new vocabulary what it was trained on: ``{name}.origin.json``.

    Args:
        vocab_file: file of the vocabulary.
        words: its words.
        catalogue: files that it was trained on.
        rows: the same, opened.
    """
    origin = dict(
        vocabulary=_hash(words),
        files=_stamps(catalogue),
        texts=_hash(rows.texts()),
        in_pieces=sorted(count_words(rows.texts()).keys() - set(words)),
    )
    write_whole_json(_origin_file(vocab_file), origin)


def warn_if_outdated(vocab_file: Path, words: Sequence[str], catalogue: Catalogues) -> None:
    """Log a warning if a vocabulary does not know words of the catalogue as it is now.

    A word is unknown if the texts that the vocabulary was trained on did not have it. If nothing
    says which texts these were (a vocabulary of an older version or of the user's own), a word is
    unknown if one of its letters is. The texts are read only if the files have changed. A
    catalogue that cannot be read is not compared, since it is not needed.

    Args:
        vocab_file: file of the vocabulary.
        words: its words.
        catalogue: catalogue whose texts the vocabulary is for.
    """
    origin = {}
    with suppress(OSError, ValueError, LookupError, TypeError):
        noted = json.loads(_origin_file(vocab_file).read_text(encoding='utf-8'))
        origin = noted if noted['vocabulary'] == _hash(words) else {}
    try:
        if origin.get('files') == _stamps(catalogue):
            return
        rows = read_catalogue(catalogue)
        if origin.get('texts') == _hash(rows.texts()):
            return
        counts = count_words(rows.texts())
    except (CatalogueError, OSError):
        return
    known = {*words, *origin.get('in_pieces', ())}
    unknown = [
        word
        for word, _ in counts.most_common()
        if word not in known and (origin or not known.issuperset(_letters(word)))
    ]
    if unknown:
        print_log(
            f'{vocab_file} was not made from {catalogue} as it is now: {len(unknown)} of the '
            f'{len(counts)} different words are unknown to it ({", ".join(unknown[:5])}'
            f'{", ..." if len(unknown) > 5 else ""}) and are read as pieces or [UNK]. Delete the '
            'file, and a vocabulary of these texts is trained',
            logger='current',
            level=logging.WARNING,
        )


def _letters(word: str) -> list[str]:
    """The smallest pieces of a word."""
    return [word[0], *(f'##{letter}' for letter in word[1:])]


def _origin_file(vocab_file: Path) -> Path:
    return vocab_file.with_name(f'{vocab_file.name}.origin.json')


def _stamps(catalogue: Catalogues) -> list[list]:
    """Name, size and time of change of each file."""
    found = [(file.path, os.stat(file.path)) for file in find_files(catalogue)]
    return [[Path(path).name, stat.st_size, stat.st_mtime_ns] for path, stat in found]


def _hash(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b'\0')
    return digest.hexdigest()
