"""What a file is that is not the catalogue that its name promises, by its first bytes."""

import json

from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.stored_files import StoredFile

# How much of a file is looked at.
HEAD_BYTES = 2**16
_DOWNLOAD = 'download the file itself'
_KINDS = (
    (b'PAR1', 'Parquet', 'name it .parquet'),
    (b'ARROW1', 'an Arrow (Feather) file', 'write it as Parquet'),
    (b'\x1f\x8b', 'a gzip file', 'unpack it'),
    (b'PK\x03\x04', 'a zip file (or one of Excel)', 'unpack it, or export it'),
    (b'BZh', 'a bzip2 file', 'unpack it'),
    (b'\xfd7zXZ', 'an xz file', 'unpack it'),
    (b'\x28\xb5\x2f\xfd', 'a Zstandard file', 'unpack it'),
    (b'Obj\x01', 'an Avro file', 'write it as Parquet'),
    (b'ORC', 'an ORC file', 'write it as Parquet'),
    (b'SQLite format 3', 'an SQLite database', 'export its table'),
    (b'version https://git-lfs', 'a pointer of Git LFS', 'run git lfs pull'),
    (b'\xff\xfe\x00\x00', 'text in UTF-32', 'convert it: iconv -f UTF-32 -t UTF-8 IN > OUT'),
    (b'\x00\x00\xfe\xff', 'text in UTF-32', 'convert it: iconv -f UTF-32 -t UTF-8 IN > OUT'),
    (b'\xff\xfe', 'text in UTF-16', 'convert it: iconv -f UTF-16 -t UTF-8 IN > OUT'),
    (b'\xfe\xff', 'text in UTF-16', 'convert it: iconv -f UTF-16 -t UTF-8 IN > OUT'),
    (b'<?xml', 'XML', 'export it as JSON Lines'),
    (b'<', 'HTML, perhaps an error page', _DOWNLOAD),
)


def describe(head: bytes, expected: str = '') -> str | None:
    """What a file is and what to do about it; None if it may be JSON Lines or is unknown.

    Args:
        head: its first bytes.
        expected: a kind that it should be, which is not reported.
    """
    if not head.strip(b'\x00'):
        return f'{len(head)} bytes of zeros; {_DOWNLOAD} again' if head else 'empty'
    for magic, kind, advice in _KINDS:
        if head.lstrip().startswith(magic) and kind != expected:
            return f'{kind}; {advice}'
    for places, order in ((head[1:64:2], 'LE'), (head[:64:2], 'BE')):
        if len(places) > 8 and not places.strip(b'\x00'):  # Latin letters without a BOM
            return f'text in UTF-16; convert it: iconv -f UTF-16{order} -t UTF-8 IN > OUT'
    return None


def describe_file(file: StoredFile, expected: str) -> str | None:
    """:func:`describe` of a file."""
    with file.open() as source:
        return describe(source.read(HEAD_BYTES), expected)


def check_json_lines(head: bytes, file: StoredFile) -> None:
    """Check that a file may be JSON Lines, so that one message says so and not one a line.

    Args:
        head: its first ``HEAD_BYTES``, unpacked.
        file: the file, for messages.

    Raises:
        CatalogueError: it is something else, such as one JSON array or text in UTF-16.
    """
    lines = [line.strip() for line in head.removeprefix(b'\xef\xbb\xbf').split(b'\n')]
    if len(head) == HEAD_BYTES:  # the last one is cut
        lines = lines[:-1] or lines
    lines = [line for line in lines if line]
    if not lines:  # an empty shard
        return
    problem, first = describe(head), lines[0]
    if problem is None and first[:1] == b'[' and (len(lines) == 1 or not _is_json(first)):
        problem = "one JSON array; write one object a line: jq -c '.[]' IN > OUT.jsonl"
    elif problem is None and first[:1] == b'{' and not _is_json(first):
        if len(lines) > 1 and lines[1][:1] not in (b'{', b'['):
            problem = (
                'pretty-printed JSON, with objects over several lines; write one object a line: '
                'jq -c . IN > OUT.jsonl'
            )
    if problem:
        raise CatalogueError(f'{file}: the file is {problem}')


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode(errors='replace'))
    except (ValueError, RecursionError):
        return False
    return True
